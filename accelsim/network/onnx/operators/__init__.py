"""What each ONNX operator that we know means in layers, one file a kind of operator.

The meaning of operators and attributes: https://onnx.ai/onnx/operators.
"""

from collections.abc import Callable

from accelsim.network.onnx.call import Call
from accelsim.network.onnx.draft import Value
from accelsim.network.onnx.operators import elementwise, moves, pools, products, quantized, reductions

OPERATORS: dict[str, Callable[[Call], list[Value]]] = {
    **products.OPERATORS,
    **pools.OPERATORS,
    **elementwise.OPERATORS,
    **reductions.OPERATORS,
    **moves.OPERATORS,
    **quantized.OPERATORS,
}
# Beside ONNX's own: (domain, operator) of other domains that mean what the operator of that name
# does.
FOREIGN = {("com.microsoft", name) for name in ("QLinearAdd", "QLinearGlobalAveragePool", "QuantizeLinear", "Gelu")}
FOREIGN |= {("com.microsoft", "DequantizeLinear")}
# What moves integers as it moves other numbers, and what takes them for what they stand for.
MOVING: tuple[str, ...] = ("MaxPool", "GlobalMaxPool", "Identity", "Dropout", "Concat", "Expand", "Tile")
MOVING += ("DepthToSpace", "SpaceToDepth")
MOVING += ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "Pad", "Resize")
OF_INTEGERS = ("Cast", *quantized.READING)
RECURRENT = ("LSTM", "GRU", "RNN", "Scan", "Loop")
