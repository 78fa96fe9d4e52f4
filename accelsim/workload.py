"""From a model to what each of its layers asks of any machine.

A layer work is a convolution, a fully connected layer (a 1 x 1 convolution of a 1 x 1 image), a pooling, an addition
or another element-wise pass.  Folded away, at no cost: ReLU, batch-norm and affine right behind a convolution, linear
or add layer (they ride on its output path); flatten, channel padding and 1 x 1 subsampling (addressing).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.compression.deploy import winograd_filters
from accelsim.compression.model import DualModel, winograd_eligible
from accelsim.network import INPUT, Graph
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

Kind = Literal["conv", "linear", "pool", "add", "other"]

CHANNEL_BLOCK = 16  # input channels are counted, stored and tiled in blocks of this many


@dataclass(frozen=True, eq=False)
class LayerWork:
    """One layer, with its real weights.

    batch N images; in_channels C, height H, width W of the input, unpadded; out_channels K, out_height P, out_width Q.
    kernel (R, S), stride, padding, dilation as (vertical, horizontal).
    weights: (K, C / groups, R, S) float32 of a conv or linear layer, else None.
    winograd_threshold: Winograd-domain filter entries up to it are zero; None where Winograd does not apply.
    input_density: (C,) share of non-zero inputs of each channel.
    inputs: how many tensors of the input's shape are read (2 for an addition).
    output_density: share of non-zero outputs, as the next layer with weights finds them.
    """

    name: str
    kind: Kind
    batch: int
    in_channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    weights: NDArray[np.float32] | None = None
    winograd_threshold: float | None = None
    input_density: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))
    inputs: int = 1
    output_density: float = 1.0
    _blocks: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @property
    def outputs(self) -> int:
        """Elements of the output: N P Q K."""
        return self.batch * self.out_height * self.out_width * self.out_channels

    @property
    def dense_macs(self) -> int:
        """Multiplies of the spatial, unpruned layer, padding included: N P Q K R S C / groups."""
        if self.weights is None:
            return 0
        return self.batch * self.out_height * self.out_width * self.weights.size

    def nonzeros(self, m: int = 1) -> NDArray[np.int32]:
        """Non-zero weights of each filter and input channel: (taps, K, C / groups) int32.

        m = 1: in the spatial domain, one tap, up to R S non-zeros each.
        m > 1: in the Winograd domain of F(m x m, R x S), n_h n_w taps, 0 or 1 each.
        Raises ValueError if the layer has no weights, or m > 1 and Winograd does not apply.
        """
        if self.weights is None or (m > 1 and self.winograd_threshold is None):
            raise ValueError(f"layer {self.name}: no weights for F({m}, r)")
        if m == 1:
            return np.asarray(np.count_nonzero(self.weights, axis=(2, 3))[None], np.int32)
        kept = winograd_filters(self.weights, m, self.winograd_threshold or 0.0) != 0
        K, C, n_h, n_w = kept.shape
        return np.asarray(kept.reshape(K, C, n_h * n_w).transpose(2, 0, 1), np.int32)

    def block_nonzeros(self, m: int = 1) -> NDArray[np.int64]:
        """``nonzeros(m)`` summed over blocks of CHANNEL_BLOCK input channels: (taps, K, blocks) int64.  Kept."""
        if m not in self._blocks:
            self._blocks[m] = sum_blocks(self.nonzeros(m))
        return self._blocks[m]


def sum_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Sums over blocks of CHANNEL_BLOCK channels: (..., C) -> (..., blocks), integers as int64."""
    starts = np.arange(0, values.shape[-1], CHANNEL_BLOCK)
    dtype = np.int64 if values.dtype.kind in "iub" else np.float64
    return np.asarray(np.add.reduceat(values, starts, axis=-1, dtype=dtype))


def layer_works(model: DualModel, batch: int = 1) -> tuple[LayerWork, ...]:
    """What each layer of the model asks, in order, for a batch of images.  Raises ValueError if batch < 1."""
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    graph = model.network.graph
    works = []
    for node in graph.nodes:
        layer = node.layer
        source = graph.shapes[node.inputs[0]]
        H, W, C = source if len(source) == 3 else (1, 1, source[0])
        target = graph.shapes[node.name]
        P, Q, K = target if len(target) == 3 else (1, 1, target[0])
        shape = (batch, C, H, W, K, P, Q)
        density = model.input_density.get(node.name, np.ones(1, np.float32))
        density = np.broadcast_to(density, (C,))
        match layer:
            case Conv():
                weights = model.network.arrays[f"{node.name}.weight"]
                threshold = model.winograd_threshold if winograd_eligible(node) else None
                works.append(
                    LayerWork(
                        node.name, "conv", *shape, layer.kernel, layer.stride, layer.padding, layer.dilation,
                        layer.groups, weights, threshold, density,
                    )
                )  # fmt: skip
            case Linear():
                weights = model.network.arrays[f"{node.name}.weight"][:, :, None, None]
                works.append(LayerWork(node.name, "linear", *shape, weights=weights, input_density=density))
            case MaxPool() | AveragePool() if layer.kernel == (1, 1):
                continue
            case MaxPool() | AveragePool():
                works.append(LayerWork(node.name, "pool", *shape, layer.kernel, layer.stride, layer.padding))
            case GlobalAveragePool():
                works.append(LayerWork(node.name, "pool", *shape, kernel=(H, W)))
            case Add():
                works.append(LayerWork(node.name, "add", *shape, inputs=len(node.inputs)))
            case LocalResponseNorm():
                works.append(LayerWork(node.name, "other", *shape))
            case Relu() | Affine() | BatchNorm():
                if not _rides_along(graph, node.inputs[0]):
                    works.append(LayerWork(node.name, "other", *shape))
            case Concat() | Flatten() | PadChannels():
                continue
            case _:
                raise TypeError(f"node {node.name}: no layer work for {type(layer).__name__}")
    return tuple(works)


def _rides_along(graph: Graph, producer: str) -> bool:
    """Whether an element-wise layer behind ``producer`` is done on the way out of the layer that computes."""
    while producer != INPUT:
        node = graph.node(producer)
        if isinstance(node.layer, Conv | Linear | Add | AveragePool | GlobalAveragePool):
            return True
        if not isinstance(node.layer, Relu | Affine | BatchNorm):
            return False
        producer = node.inputs[0]
    return False
