"""From a model to what each of its layers asks of any machine.

A layer work is a convolution, a fully connected layer (a 1 x 1 convolution of a 1 x 1 image), a pooling, an addition
or another element-wise pass; of a ``.dual`` file, or of a table (``accelsim.network.tables``) with random weights.
Folded away, at no cost: ReLU, clipping, batch-norm, affine and any other function of single numbers right behind a
convolution, a linear layer, an addition or a product (they ride on its output path, by a table where need be); what
only moves numbers: flatten, reshape, transpose, slices, joins, padding and 1 x 1 subsampling (addressing).  Softmax,
layer, group and instance normalisation, resizing and products of two maps are element-wise passes of kind ``other``.
A product of two matrices of the image (attention) is a convolution whose weights, without zeros, are the second one.
An operator that is not known costs what it reads and writes.
"""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from accelsim import shipped
from accelsim.arrays import Array, Floats, Ints
from accelsim.dual.deploy import winograd_filters
from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.errors import InputError
from accelsim.files import LAYER_TABLE, read_bytes
from accelsim.memo import Memo
from accelsim.network import INPUT, Graph, Node
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    PadImage,
    Relu,
)
from accelsim.network.tables import TableLayer, as_product, read_table
from accelsim.network.tensors import (
    Combine,
    Expand,
    FakeQuantize,
    Join,
    MatrixProduct,
    Opaque,
    Operand,
    Pad,
    Pointwise,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Standardize,
    Take,
    Transpose,
)
from accelsim.transforms.decomposition import Piece

Kind = Literal["conv", "linear", "pool", "add", "other"]

MAX_WEIGHTS = 1 << 28  # of a layer of a table: a gigabyte
HELD_WEIGHTS = 150_000_000  # of a table whose layers are made once: 600 MB, enough for VGG-16
CHANNEL_BLOCK = 16  # input channels are counted, stored and tiled in blocks of this many
DRAWN_AT_ONCE = 1 << 22  # random numbers
REMEMBERED = 16  # counts of a layer, each of the size of its masks


COMPUTE = (
    Conv,
    Linear,
    Add,
    Combine,
    MatrixProduct,
    AveragePool,
    GlobalAveragePool,
)  # whose output path others ride on
RIDE = (Relu, Clip, Affine, BatchNorm, Pointwise, FakeQuantize, Operand)
MOVE = (Concat, Flatten, PadChannels, PadImage, Reshape, Transpose, Expand, Slice, Take, Pad, Join)
KEEP_ZEROS = (Relu, Clip, Affine, BatchNorm, Flatten, Reshape, Transpose)  # as many in as out, or taken to be


@dataclass(frozen=True)
class Surroundings:
    """What a layer finds around it where a network runs as one: where its maps are, and what rides on its outputs.

    As it stands, a layer alone: all inputs come from DRAM, all outputs go there, tiles have the buffers to themselves.
    """

    input_share: float = 1.0  # of the inputs' bytes that come from DRAM; the rest is on chip
    stores: bool = True  # whether the outputs go to DRAM
    output_share: float = 1.0  # of the outputs that are left to store, less than 1 behind a pooling
    operands: int = 0  # values that riding additions load from DRAM for each output
    post_slots: int = 0  # operands that what rides takes, of the whole layer, on the machine's vector lanes
    line_bytes: int = 0  # that riding poolings hold in the output buffer
    room: tuple[int, int] | None = None  # bytes for tiles of inputs, of outputs; None: the buffers
    shared: bool = False  # whether both rooms are one, of as many bytes as the first says


ALONE = Surroundings()


@dataclass(frozen=True, eq=False)
class LayerWork:
    """One layer, with its real weights."""

    name: str
    kind: Kind
    batch: int  # N images
    in_channels: int  # C
    height: int  # H of the input, unpadded
    width: int  # W of the input, unpadded
    out_channels: int  # K
    out_height: int  # P
    out_width: int  # Q
    kernel: tuple[int, int] = (1, 1)  # (R, S)
    stride: tuple[int, int] = (1, 1)  # (vertical, horizontal)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    weights: Array | None = None  # (K, C / groups, R, S) of a conv or linear layer
    winograd_threshold: float | None = None  # Winograd-domain entries up to it are zero; None: Winograd does not apply
    input_density: Array = field(default_factory=lambda: np.ones(1, np.float32))  # (C,) share of non-zero inputs
    inputs: int = 1  # tensors of the input's shape that are read, 2 for an addition
    output_density: float = 1.0  # share of non-zero outputs, as the next layer with weights finds them
    winograd_density: float | None = None  # of a synthetic layer: this share of its W is kept, the largest
    coded_bits: int | None = None  # that the file's own entropy code spends on the weights; None without a file
    sources: tuple[str, ...] | None = None  # layers, or ``input``, whose outputs are read; None: a table does not say
    around: Surroundings = ALONE
    block_counts: Memo[Ints] = field(default_factory=lambda: Memo(REMEMBERED), init=False, repr=False)
    derived: Memo[Any] = field(default_factory=lambda: Memo(REMEMBERED), init=False, repr=False)  # by machines

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

    def amid(self, around: Surroundings) -> "LayerWork":
        """The same layer in other surroundings; what was counted of its weights is shared."""
        if around == self.around:
            return self
        other = copy.copy(self)
        object.__setattr__(other, "around", around)
        return other

    def reading(self, sources: tuple[str, ...]) -> "LayerWork":
        """The same layer, its inputs under other names; what was counted of its weights is shared."""
        other = copy.copy(self)
        object.__setattr__(other, "sources", sources)
        return other

    def without_weights(self) -> "LayerWork":
        """The layer's shape and densities alone, for what is remembered with the layer: it must not hold the layer."""
        return replace(self, weights=None)

    def nonzeros(self, m: int = 1) -> NDArray[np.int32]:
        """Non-zero weights of each filter and input channel: (taps, K, C / groups) int32.

        m = 1: in the spatial domain, one tap, up to R S non-zeros each.
        m > 1: in the Winograd domain of F(m x m, R x S), n_h n_w taps, 0 or 1 each.
        Raises ValueError if the layer has no weights, or m > 1 and Winograd does not apply.
        """
        if m == 1 and self.weights is not None and self.kernel != (1, 1):
            return np.asarray(np.count_nonzero(self.weights, axis=(2, 3))[None], np.int32)
        return self.mask(m).astype(np.int32)

    def mask(self, m: int, parts: tuple[Piece, ...] = ()) -> NDArray[np.bool_]:
        """Which Winograd-domain entries, or 1 x 1 weights, are not zero, tap after tap: (taps, K, C / groups) bool.

        parts: of a layer cut into pieces at stride 1, each run by F(m x m, its size); of these nothing is pruned.
        Raises ValueError if the layer has no weights, or Winograd does not apply.
        """
        if m == 1 and self.kernel == (1, 1) and self.weights is not None:
            return np.asarray(self.weights[None, :, :, 0, 0] != 0)
        if self.weights is None or (not parts and self.winograd_threshold is None):
            raise ValueError(f"layer {self.name}: no weights for F({m}, r)")
        filters: list[NDArray[Any]]
        if parts:
            filters = [winograd_filters(self.weights[:, :, *piece.window], m, 0.0) for piece in parts]
        elif self.winograd_density is None:
            filters = [winograd_filters(self.weights, m, self.winograd_threshold or 0.0)]
        else:
            W = np.abs(winograd_filters(self.weights, m, 0.0))
            rank = round((1 - self.winograd_density) * W.size)
            filters = [W > (np.partition(W.ravel(), rank - 1)[rank - 1] if rank else -1)]
        K, C = self.weights.shape[:2]
        return np.concatenate([(W != 0).transpose(2, 3, 0, 1).reshape(-1, K, C) for W in filters])

    def block_nonzeros(self, m: int = 1, parts: tuple[Piece, ...] = ()) -> NDArray[np.int64]:
        """``nonzeros(m)`` summed over blocks of CHANNEL_BLOCK input channels: (taps, K, blocks) int64.  Kept.

        parts: of the layer cut into these pieces instead, each run by F(m x m, its size), not pruned.
        """

        def count() -> Ints:
            whole_kernels = m == 1 and self.kernel != (1, 1)
            return sum_blocks(self.nonzeros() if whole_kernels else self.mask(m, parts))

        return self.block_counts.get((m, parts), count)

    def group_density(self) -> Floats:
        """Density of the inputs of each convolution group: (groups, C / groups)."""
        density = np.broadcast_to(self.input_density, (self.in_channels,)).reshape(self.groups, -1)
        return density.astype(np.float64)


def block_sizes(channels: int) -> Ints:
    """Channels of each block of CHANNEL_BLOCK, the last one what remains: (blocks,) int64."""
    return np.minimum(CHANNEL_BLOCK, channels - np.arange(0, channels, CHANNEL_BLOCK))


def sum_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Sums over blocks of CHANNEL_BLOCK channels: (..., C) -> (..., blocks), flags and integers as int64."""
    if values.dtype == np.bool_:  # a block's sum fits a byte, and bytes add up many at a time
        padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % CHANNEL_BLOCK)])
        blocks = padded.view(np.uint8).reshape(*values.shape[:-1], -1, CHANNEL_BLOCK)
        return np.asarray(np.einsum("...i->...", blocks), np.int64)
    starts = np.arange(0, values.shape[-1], CHANNEL_BLOCK)
    dtype = np.int64 if values.dtype.kind in "iu" else np.float64
    return np.asarray(np.add.reduceat(values, starts, axis=-1, dtype=dtype))


def load_table(path: Path, seed: int = 0) -> "LayerTable":
    """The table of layers in a file, its zeros to be drawn from the seed.  Raises InputError as ``read_table``."""
    layers = read_table(path)
    content = read_bytes(path, LAYER_TABLE)
    return LayerTable(path.stem, layers, seed, len(content), hashlib.sha256(content).hexdigest())


def find_table(name: str | Path) -> Path | None:
    """The path of a table: a ``.csv`` as it is, or a bare name in a ``workloads`` folder, as machines are; or None."""
    path = Path(name)
    return path if path.suffix == ".csv" else shipped.find("workloads", name)


@dataclass(frozen=True)
class LayerTable:
    """A network without weights: rows of a table, whose zeros are drawn from a seed.  Its results are synthetic.

    file_bytes, sha256: of the table's file.
    """

    name: str
    layers: tuple[TableLayer, ...]
    seed: int = 0
    file_bytes: int = 0
    sha256: str = ""

    @property
    def parameters(self) -> int:
        """Weights of all layers."""
        return sum(layer.weights for layer in self.layers)


@dataclass(frozen=True)
class TableWorks(Sequence[LayerWork]):
    """The layer works of a table, each made when it is asked for, so that one layer's weights are held at a time."""

    table: LayerTable
    batch: int

    def __len__(self) -> int:
        return len(self.table.layers)

    @overload
    def __getitem__(self, index: int) -> LayerWork: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerWork, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerWork | tuple[LayerWork, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        return _table_work(self.table, range(len(self))[index], self.batch)


def made_once(works: Sequence[LayerWork]) -> Sequence[LayerWork]:
    """The layer works, made once for many runs; those of a table of over HELD_WEIGHTS weights anew each time."""
    if isinstance(works, TableWorks) and works.table.parameters > HELD_WEIGHTS:
        return works
    return tuple(works)


def without_weights(works: Sequence[LayerWork]) -> Iterable[LayerWork]:
    """The layer works with their shapes alone, where that saves to make the weights."""
    if isinstance(works, TableWorks):
        return (_table_work(works.table, i, works.batch, draw=False) for i in range(len(works)))
    return works


def layer_works(model: DualModel | LayerTable, batch: int = 1) -> Sequence[LayerWork]:
    """What each layer of the model asks, in order, for a batch of images; a table's are made each time they are read.

    Raises ValueError if batch < 1, InputError if a layer of a table has over MAX_WEIGHTS weights, or a product of two
    matrices as many operands.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1")
    if isinstance(model, LayerTable):
        for layer in model.layers:
            if layer.weights > MAX_WEIGHTS:
                raise InputError(
                    f"{model.name}: layer {layer.name} has {layer.weights} weights, expected at most {MAX_WEIGHTS}"
                )
        return TableWorks(model, batch)
    density = _densities(model)
    works = (_node_work(model, node, density, batch) for node in model.network.graph.nodes)
    return tuple(work for work in works if work is not None)


def _node_work(model: DualModel, node: Node, density: Mapping[str, float], batch: int) -> LayerWork | None:
    """What one node of the graph asks; None if it costs nothing.  density: of ``_densities``."""
    graph = model.network.graph
    layer = node.layer
    if _costs_nothing(graph, node):
        return None
    make = _work_of_shape(model, node, density, batch)
    match layer:
        case Conv():
            return make(
                "conv",
                kernel=layer.kernel,
                stride=layer.stride,
                padding=layer.padding,
                dilation=layer.dilation,
                groups=layer.groups,
                weights=model.network.arrays[f"{node.name}.weight"],
                winograd_threshold=model.winograd_threshold if winograd_eligible(node) else None,
            )
        case Linear():
            return make("linear", weights=model.network.arrays[f"{node.name}.weight"][:, :, None, None])
        case MaxPool() | AveragePool():
            return make("pool", kernel=layer.kernel, stride=layer.stride, padding=layer.padding)
        case GlobalAveragePool():
            height, width, _ = _image(graph.shapes[node.inputs[0]])
            return make("pool", kernel=(height, width), stride=(height, width))
        case Add():
            return make("add", inputs=len(node.inputs))
        case LocalResponseNorm() | Relu() | Clip() | Affine() | BatchNorm():
            return make("other")
    if isinstance(layer, MatrixProduct):
        return _product_work(model, node, density, batch)
    if (settings := _vector_work(graph, node)) is not None:
        return make("other", **settings)
    raise TypeError(f"node {node.name}: no layer work for {type(layer).__name__}")


def _work_of_shape(model: DualModel, node: Node, density: Mapping[str, float], batch: int) -> Callable[..., LayerWork]:
    """A layer work with the node's name, sizes and densities, of the kind and with the rest that is given to it."""
    shapes = model.network.graph.shapes
    height, width, in_channels = _image(shapes[node.inputs[0]])
    out_height, out_width, out_channels = _image(shapes[node.name])
    input_density = model.input_density.get(node.name)
    if input_density is None:
        input_density = np.array([np.mean([density[source] for source in node.inputs])], np.float32)
    return partial(
        LayerWork,
        node.name,
        batch=batch,
        in_channels=in_channels,
        height=height,
        width=width,
        out_channels=out_channels,
        out_height=out_height,
        out_width=out_width,
        input_density=np.broadcast_to(input_density, (in_channels,)),
        output_density=density[node.name],
        coded_bits=model.coded_bits.get(node.name),
        sources=tuple(_producers(model.network.graph, node.inputs)),
    )


def _vector_work(graph: Graph, node: Node) -> dict[str, Any] | None:
    """How a layer without weights passes through the vector lanes; None if it is no such layer.

    A normalisation over other axes than the last one reads its tensor twice, first for the statistics.
    """
    layer = node.layer
    shapes = [graph.shapes[source] for source in node.inputs]
    match layer:
        case Pointwise() | FakeQuantize() | Operand():
            return {"inputs": 1}
        case Combine():
            return {"inputs": 2 if prod(shapes[0]) == prod(shapes[1]) else 1}
        case Softmax():
            return {"inputs": 1 if layer.axis == len(shapes[0]) - 1 else 2}
        case Standardize():
            return {"inputs": 1 if layer.axes == (len(shapes[0]) - 1,) else 2}
        case Resize():
            taps = {"nearest": 1, "linear": 2, "cubic": 4}[layer.mode]
            return {"inputs": 1, "kernel": (taps, taps), "stride": (taps, taps)}
        case Reduce():
            return {"inputs": 1, "kernel": (max(1, prod(shapes[0]) // prod(graph.shapes[node.name])), 1)}
        case Opaque():
            return {"inputs": len(shapes)}
    return None


def _product_work(model: DualModel, node: Node, density: Mapping[str, float], batch: int) -> LayerWork:
    """A product of two tensors of an image: a 1 x 1 convolution whose weights are the second tensor, of no zeros.

    Every image and every matrix of a stack is a group of its own.
    """
    graph = model.network.graph
    a, b = (graph.shapes[source] for source in node.inputs)
    stack = batch * prod(graph.shapes[node.name][:-2])
    M, K, N = a[-2], a[-1], b[-1]
    if stack * K * N > MAX_WEIGHTS:
        raise InputError(
            f"{graph.name}: layer {node.name} multiplies by {stack * K * N} numbers in a batch of {batch}, "
            f"expected at most {MAX_WEIGHTS}"
        )
    return LayerWork(
        node.name,
        "conv",
        batch=1,
        in_channels=stack * K,
        height=M,
        width=1,
        out_channels=stack * N,
        out_height=M,
        out_width=1,
        groups=stack,
        weights=np.ones((stack * N, K, 1, 1), np.float32),
        input_density=np.full(stack * K, density[node.inputs[0]], np.float32),
        output_density=density[node.name],
        sources=tuple(_producers(graph, node.inputs[:1])),
    )


def _producers(graph: Graph, names: Iterable[str]) -> Iterator[str]:
    """The layers with work of their own, or ``input``, that the named tensors come from, through what costs nothing."""
    for name in names:
        if name == INPUT:
            yield INPUT
            continue
        node = graph.node(name)
        if _costs_nothing(graph, node):
            yield from _producers(graph, node.inputs)
        else:
            yield name


def _costs_nothing(graph: Graph, node: Node) -> bool:
    """Whether a node is addressing, or rides along with the layer in front of it."""
    match node.layer:
        case MaxPool() | AveragePool():
            return node.layer.kernel == (1, 1)
    if isinstance(node.layer, RIDE):
        return _rides_along(graph, node.inputs[0])
    return isinstance(node.layer, MOVE)


def _image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of a tensor; a vector is an image of one pixel, what has other sizes one column."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return prod(shape[:-1]), 1, prod(shape[-1:])


def _table_work(table: LayerTable, i: int, batch: int, draw: bool = True) -> LayerWork:
    """Layer i of a table, with random weights of its density, unless they are not to be drawn.

    Every layer draws from (seed, i) alone.  In the Winograd domain the layer is taken to be as sparse as in the spatial
    one, as joint training makes it: the largest entries of the transformed filters are kept.
    """
    layer = as_product(table.layers[i])
    next_layer = table.layers[min(i + 1, len(table.layers) - 1)]
    out_height, out_width = layer.output_size
    make = partial(
        LayerWork,
        layer.name,
        layer.kind,
        batch=batch * layer.batch,
        in_channels=layer.in_channels,
        height=layer.height,
        width=layer.width,
        out_channels=layer.out_channels,
        out_height=out_height,
        out_width=out_width,
        kernel=layer.kernel,
        stride=layer.strides,
        padding=layer.paddings,
        dilation=(layer.dilation, layer.dilation),
        groups=layer.groups,
        input_density=np.full(layer.in_channels, layer.activation_density, np.float32),
        output_density=next_layer.activation_density,
        sources=layer.inputs,
    )
    if layer.kind not in ("conv", "linear"):
        return make(inputs=2 if layer.kind == "add" else 1)
    if not draw:
        return make()
    rng = np.random.default_rng((table.seed, i))
    shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    weights = rng.standard_normal(shape, np.float32)
    parts = min(len(weights), 1 + weights.size // DRAWN_AT_ONCE) if layer.weight_density < 1 else 0
    for filters in np.array_split(weights, parts) if parts else ():
        filters[rng.random(filters.shape, np.float32) >= layer.weight_density] = 0
    winograd = layer.kind == "conv" and layer.strides == (1, 1) and layer.dilation == 1 and min(layer.kernel) >= 2
    return make(
        weights=weights,
        winograd_threshold=0.0 if winograd else None,
        winograd_density=layer.weight_density if winograd else None,
    )


def _densities(model: DualModel) -> dict[str, float]:
    """Density of the input's and each node's tensor, as a layer with weights finds it there; 1 where none does."""
    graph = model.network.graph
    density = dict.fromkeys([INPUT, *graph.shapes], 1.0)
    for node in reversed(graph.nodes):
        found = model.input_density.get(node.name)
        if found is not None:
            density[node.inputs[0]] = float(np.mean(found))
        elif isinstance(node.layer, KEEP_ZEROS) and density[node.inputs[0]] == 1.0:
            density[node.inputs[0]] = density[node.name]
    return density


def _rides_along(graph: Graph, producer: str) -> bool:
    """Whether an element-wise layer behind ``producer`` is done on the way out of the layer that computes."""
    while producer != INPUT:
        node = graph.node(producer)
        if isinstance(node.layer, COMPUTE):
            return True
        if not isinstance(node.layer, RIDE):
            return False
        producer = node.inputs[0]
    return False
