"""What the simulator was compared with: each module gives rows of reports/validation.md by a function ``rows()``."""
