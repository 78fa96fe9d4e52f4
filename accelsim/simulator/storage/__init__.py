"""What lies in buffers and DRAM, and how many bytes it takes: weights in their format, feature maps, buffers."""
