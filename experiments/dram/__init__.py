"""Times and energies of the DRAM model beside cycle-accurate simulators, and beside single commands."""
