"""What lies in buffers and DRAM, and how many bytes it takes.

Weights in their format, feature maps, buffers.
"""
