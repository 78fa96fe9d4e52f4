"""Networks from and to ONNX files, opset 9 and newer.

Any operator of today's convolutional networks.

``reader`` walks the graph once, ``inputs`` settles the size it is read for, ``constants`` computes
what does not depend on the image, ``operators`` says what each operator means in layers, and
``draft`` keeps account of which of our nodes holds which ONNX tensor.  ``writer`` and
``tensor_writer`` go the other way, to opset 13.  ``unknown`` says what of a file is not known.
Images are (N, C, H, W) in ONNX. Weights lie in the file or in a file beside it (``weights``).
Preprocessing is no part of ONNX: it is kept in the metadata entry ``accelsim.preprocessing``.
"""

from accelsim.network.onnx.reader import read_onnx, read_onnx_in_part
from accelsim.network.onnx.writer import write_onnx

__all__ = ["read_onnx", "read_onnx_in_part", "write_onnx"]
