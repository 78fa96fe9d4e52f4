"""How a network runs as one.

Which layers ride on others, where each feature map lies, one program for all of them.
"""
