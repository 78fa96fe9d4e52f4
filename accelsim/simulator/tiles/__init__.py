"""Layers as tiles of a matrix product.

How they are cut, which cut is best, and the steps that follow from it.
"""
