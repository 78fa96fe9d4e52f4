"""What the RTL costs in gates of the Nangate 45 nm library: energy of real operands, area, delay."""
