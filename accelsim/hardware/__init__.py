"""Machine descriptions, and what their parts cost in energy, area and time."""
