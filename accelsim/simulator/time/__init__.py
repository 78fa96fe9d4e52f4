"""Where cycles are counted.

A schedule's steps, timed by recurrence or by discrete events, and what bounds them.
"""
