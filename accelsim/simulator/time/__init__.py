"""Where cycles are counted: a schedule's steps, timed by recurrence or by discrete events, and what bounds them."""
