"""The planar array of Cartesian products of sparse operands, as SCNN: cuts, elements, steps."""
