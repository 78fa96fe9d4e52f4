"""Networks from and to ONNX files: the operators of plain convolutional networks, and a clear word on any other.

Read and written: Conv, Gemm, BatchNormalization, Relu, MaxPool, AveragePool, GlobalAveragePool, LRN, Add, Concat, Pad
(of channels) and Flatten; read, too: Reshape to vectors, Identity and Dropout.  Images are (N, C, H, W) in ONNX.
Preprocessing is no part of ONNX: it is kept in the metadata entry ``accelsim.preprocessing``.
"""

from accelsim.network.onnx.reader import read_onnx
from accelsim.network.onnx.writer import write_onnx

__all__ = ["read_onnx", "write_onnx"]
