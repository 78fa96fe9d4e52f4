"""Scripts that make what ``reports/``, ``models/`` and ``workloads/`` hold.

Each runs from the repository's root as ``python -m experiments.NAME``; none is installed with ``accelsim``.
"""
