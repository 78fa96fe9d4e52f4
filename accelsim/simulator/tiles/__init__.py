"""Layers as tiles of a matrix product: how they are cut, which cut is best, and the steps that follow from it."""
