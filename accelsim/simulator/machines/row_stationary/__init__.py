"""The row-stationary array: a convolution as passes over sets of processing elements, as on Eyeriss."""
