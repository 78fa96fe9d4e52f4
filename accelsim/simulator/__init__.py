"""Machines as planners of schedules, and the pipeline that times them."""
