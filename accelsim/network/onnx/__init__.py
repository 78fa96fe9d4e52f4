"""Networks from and to ONNX files: the operators of plain convolutional networks, and a clear word on any other.

Read and written: Conv, Gemm, BatchNormalization, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, LRN, Add, Concat,
Pad (with zeros) and Flatten; read, too: MatMul, ReduceMean over the image, Reshape and Squeeze to vectors, Identity,
Constant and Dropout.  Images are (N, C, H, W) in ONNX.  Weights lie in the file or in a file beside it.
Preprocessing is no part of ONNX: it is kept in the metadata entry ``accelsim.preprocessing``.
"""

from accelsim.network.onnx.reader import read_onnx
from accelsim.network.onnx.writer import write_onnx

__all__ = ["read_onnx", "write_onnx"]
