"""Forward and backward of every layer kind.

They are phases that a ``CompiledNetwork`` strings together (see ``base``).
"""

from collections.abc import Callable

from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)
from accelsim.training.ops.base import Context, Op, Phase
from accelsim.training.ops.buffers import ScratchArrays
from accelsim.training.ops.norm import AffineOp, BatchNormOp, LocalResponseNormOp
from accelsim.training.ops.pointwise import AddOp, ConcatOp, FlattenOp, PadChannelsOp, ReluOp
from accelsim.training.ops.pool import AveragePoolOp, GlobalAveragePoolOp, max_pool_op
from accelsim.training.ops.products import LinearOp, conv_op

__all__ = ["OPS", "BatchNormOp", "Context", "Op", "Phase", "ScratchArrays"]

OPS: dict[type, Callable[..., Op]] = {
    Conv: conv_op,
    Linear: LinearOp,
    BatchNorm: BatchNormOp,
    Affine: AffineOp,
    Relu: ReluOp,
    MaxPool: max_pool_op,
    AveragePool: AveragePoolOp,
    GlobalAveragePool: GlobalAveragePoolOp,
    LocalResponseNorm: LocalResponseNormOp,
    Add: AddOp,
    Concat: ConcatOp,
    PadChannels: PadChannelsOp,
    Flatten: FlattenOp,
}
