"""Other simulators beside ours: each is installed into an environment of its own and run live."""
