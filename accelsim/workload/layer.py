"""What one layer asks of any machine.

Its shape, its real weights, and how dense its inputs and outputs are.

Weights are counted in both domains, and summed over the blocks of input channels in which they are
stored and tiled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats, Ints
from accelsim.dual.deploy import winograd_filters, winograd_mask
from accelsim.memo import Memo, shallow
from accelsim.transforms.decomposition import KernelPiece
from accelsim.transforms.winograd import Points

WeightsCome = Literal["loaded", "kept", "there"]
Kind = Literal["conv", "linear", "pool", "add", "other"]

MAX_BATCH = 4096  # images of a run
MAX_WEIGHTS = 1 << 31  # of a layer that is not a file's, where none is zero, so that none is drawn
MAX_DRAWN_WEIGHTS = 1 << 28  # of another one: a gigabyte
CHANNEL_BLOCK = 16  # input channels are counted, stored and tiled in blocks of this many
PACKED = 2  # masks of a layer, a bit a flag
REMEMBERED = 16  # counts of a layer, each of the size of its masks


@dataclass(frozen=True)
class Surroundings:
    """What a layer finds around it where a network runs as one.

    Where its maps are, and what rides on its outputs.

    As it stands, a layer alone: all inputs come from DRAM, all outputs go there, tiles have the
    buffers to themselves.
    """

    input_share: float = 1.0  # of the inputs' bytes that come from DRAM; the rest is on chip
    stores: bool = True  # whether the outputs go to DRAM
    output_share: float = 1.0  # of the outputs that are left to store, less than 1 behind a pooling
    operands: int = 0  # values that riding additions load from DRAM for each output
    # operands that what rides takes, of the whole layer, on the machine's vector lanes
    post_slots: int = 0
    line_bytes: int = 0  # that riding poolings hold in the output buffer
    room: tuple[int, int] | None = None  # bytes for tiles of inputs, of outputs; None: the buffers
    shared: bool = False  # whether both rooms are one, of as many bytes as the first says
    weights: WeightsCome = "loaded"  # kept: and all of them stay; there: since an earlier stripe

    def __hash__(self) -> int:
        """Of all of it, computed once: surroundings are keys of what was planned in them."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(tuple(getattr(self, each.name) for each in fields(self)))

    @cached_property
    def roomless(self) -> "Surroundings":
        """These without the room that they leave."""
        return replace(self, room=None)


ALONE = Surroundings()


@dataclass(frozen=True, eq=False)
class Drawn:
    """Weights that are made when they are asked for.

    shape: (K, C / groups, R, S).  dense: whether none of them is zero, so that they need not be made to be counted.
    """

    shape: tuple[int, ...]
    make: Callable[[], Array]
    dense: bool = False

    @property
    def size(self) -> int:
        """How many there are."""
        return prod(self.shape)


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
    weights: Array | Drawn | None = None  # (K, C / groups, R, S) of a conv or linear layer
    # Winograd-domain entries up to it are zero; None: Winograd does not apply
    winograd_threshold: float | None = None
    # (C,) share of non-zero inputs
    input_density: Array = field(default_factory=lambda: np.ones(1, np.float32))
    inputs: int = 1  # tensors of the input's shape that are read, 2 for an addition
    # share of non-zero outputs, as the next layer with weights finds them
    output_density: float = 1.0
    # of a synthetic layer: this share of its W is kept, the largest
    winograd_density: float | None = None
    # that the file's own entropy code spends on the weights; None without a file
    coded_bits: int | None = None
    # layers, or ``input``, whose outputs are read; None: a table does not say
    sources: tuple[str, ...] | None = None
    around: Surroundings = ALONE
    masks: Memo[tuple[NDArray[np.uint8], tuple[int, ...]]] = field(
        default_factory=lambda: Memo(PACKED), init=False, repr=False
    )
    # what was counted that takes a small part of the weights' bytes, and stays when a table's layer is made anew
    counted: Memo[Any] = field(default_factory=lambda: Memo(REMEMBERED), init=False, repr=False)
    # by machines
    derived: Memo[Any] = field(default_factory=lambda: Memo(REMEMBERED), init=False, repr=False)

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

    def filters(self) -> Array:
        """The weights themselves: (K, C / groups, R, S).

        Raises ValueError if the layer has none.
        """
        if self.weights is None:
            raise ValueError(f"layer {self.name}: no weights")
        return self.weights.make() if isinstance(self.weights, Drawn) else self.weights

    @property
    def all_nonzero(self) -> bool:
        """Whether it is known without looking that no weight is zero."""
        return isinstance(self.weights, Drawn) and self.weights.dense

    def flags(self) -> NDArray[np.bool_]:
        """Which weights are not zero: (K, C / groups, R, S) bool.

        Raises ValueError if the layer has none.
        """
        if self.all_nonzero:
            assert self.weights is not None
            return np.ones(self.weights.shape, bool)
        return np.asarray(self.filters() != 0)

    def in_batch(self, batch: int) -> "LayerWork":
        """The same layer on so many images; what was counted of its weights is shared."""
        other = shallow(self)
        object.__setattr__(other, "batch", batch)
        return other

    def with_counts(self, counted: Memo[Any]) -> "LayerWork":
        """The same layer, with what was counted of its weights."""
        other = shallow(self)
        object.__setattr__(other, "counted", counted)
        return other

    def amid(self, around: Surroundings) -> "LayerWork":
        """The same layer in other surroundings; what was counted of its weights is shared."""
        if around == self.around:
            return self
        other = shallow(self)
        object.__setattr__(other, "around", around)
        return other

    def on_rows(self, first: int, end: int) -> "LayerWork":
        """The layer for some rows of its output, on the rows of its input that they read; first < end.

        What was counted of its weights is shared.
        """
        stride = self.stride[0]
        padding = self.padding[0]
        reach = self.dilation[0] * (self.kernel[0] - 1) + 1
        above = first * stride - padding
        below = min((end - 1) * stride - padding + reach, self.height) if end < self.out_height else self.height
        other = shallow(self)
        object.__setattr__(other, "height", max(0, below - max(0, above)))
        object.__setattr__(other, "out_height", end - first)
        object.__setattr__(other, "padding", (max(0, -above), self.padding[1]))
        return other

    def reading(self, sources: tuple[str, ...]) -> "LayerWork":
        """The same layer, its inputs under other names.

        What was counted of its weights is shared.
        """
        other = shallow(self)
        object.__setattr__(other, "sources", sources)
        return other

    def without_weights(self) -> "LayerWork":
        """The layer's shape and densities alone, for what is remembered with the layer.

        It must not hold the layer.
        """
        return replace(self, weights=None)

    def nonzeros(self, m: int = 1) -> NDArray[np.int32]:
        """Non-zero weights of each filter and input channel: (taps, K, C / groups) int32.

        m = 1: in the spatial domain, one tap, up to R S non-zeros each.
        m > 1: in the Winograd domain of F(m x m, R x S), n_h n_w taps, 0 or 1 each.
        Raises ValueError if the layer has no weights, or m > 1 and Winograd does not apply.
        """
        if m == 1 and self.weights is not None and self.kernel != (1, 1):
            flags = self.flags()
            if prod(self.kernel) < 1 << 8:
                # a kernel's sum fits a byte, and bytes add up many at a time
                return np.asarray(np.einsum("kcrs->kc", flags.view(np.uint8))[None], np.int32)
            return np.asarray(np.count_nonzero(flags, axis=(2, 3))[None], np.int32)
        return self.mask(m).astype(np.int32)

    def channel_nonzeros(self) -> Ints:
        """Non-zero weights of each group's input channels, over its filters.

        (groups, C / groups) int64.  Kept.
        """

        def count() -> Ints:
            if self.all_nonzero:
                assert self.weights is not None
                each = self.weights.size // self.in_channels
                return np.full((self.groups, self.in_channels // self.groups), each, np.int64)
            flags = self.flags()
            K, C = flags.shape[:2]
            grouped = flags.reshape(self.groups, K // self.groups, C, -1)
            return np.stack([np.count_nonzero(filters, axis=(0, 2)) for filters in grouped]).astype(np.int64)

        found: Ints = self.counted.get("channels", count)
        return found

    def mask(self, m: int, parts: tuple[KernelPiece, ...] = (), points: Points | None = None) -> NDArray[np.bool_]:
        """Which Winograd-domain entries, or 1 x 1 weights, are not zero, tap after tap.

        (taps, K, C / groups) bool.

        parts: of a layer cut into pieces at stride 1, each run by F(m x m, its size); of these
        nothing is pruned.  points: of interpolation, where not the default ones.  Raises ValueError
        if the layer has no weights, or Winograd does not apply.
        """
        if m == 1 and self.kernel == (1, 1) and self.weights is not None:
            return self.flags()[None, :, :, 0, 0]
        if self.weights is None or (not parts and self.winograd_threshold is None):
            raise ValueError(f"layer {self.name}: no weights for F({m}, r)")
        packed, shape = self.masks.get((m, parts, points), lambda: self._pack(m, parts, points))
        return np.unpackbits(packed, count=prod(shape)).view(np.bool_).reshape(shape)

    def _pack(
        self, m: int, parts: tuple[KernelPiece, ...], points: Points | None
    ) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
        """``mask`` of transformed filters, eight flags a byte, and its shape."""
        if self.winograd_density == 1 and self.weights is not None and not parts:
            K, C, R, S = self.weights.shape
            taps = np.ones(((m + R - 1) * (m + S - 1), K, C), bool)
            return np.packbits(taps), taps.shape
        weights = self.filters()
        if parts:
            taps = np.concatenate([winograd_mask(weights[:, :, *piece.window], m, 0.0, points) for piece in parts])
        elif self.winograd_density is None:
            taps = winograd_mask(weights, m, self.winograd_threshold or 0.0, points)
        else:
            K, C, R, S = weights.shape
            taps = np.ones(((m + R - 1) * (m + S - 1), K, C), bool)
            rank = round((1 - self.winograd_density) * taps.size)
            if rank:
                W = np.abs(winograd_filters(weights, m, 0.0, points)).transpose(2, 3, 0, 1).reshape(taps.shape)
                taps = W > np.partition(W.ravel(), rank - 1)[rank - 1]
        return np.packbits(taps), taps.shape

    def block_nonzeros(
        self, m: int = 1, parts: tuple[KernelPiece, ...] = (), points: Points | None = None
    ) -> NDArray[np.int64]:
        """``nonzeros(m)`` summed over blocks of CHANNEL_BLOCK input channels.

        (taps, K, blocks) int64.  Kept.

        parts: of the layer cut into these pieces instead, each run by F(m x m, its size), not
        pruned.  points: as for ``mask``.
        """

        def count() -> NDArray[np.integer[Any]]:
            if m == 1 and self.all_nonzero:
                each = block_sizes(self.in_channels // self.groups) * prod(self.kernel)
                return np.broadcast_to(each, (1, self.out_channels, len(each)))
            whole_kernels = m == 1 and self.kernel != (1, 1)
            counts = sum_blocks(self.nonzeros() if whole_kernels else self.mask(m, parts, points))
            return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))

        return np.asarray(self.counted.get((m, parts, points), count), np.int64)

    def group_density(self) -> Floats:
        """Density of the inputs of each convolution group: (groups, C / groups)."""
        density = np.broadcast_to(self.input_density, (self.in_channels,)).reshape(self.groups, -1)
        return density.astype(np.float64)


def over_taps(blocks: Ints) -> Ints:
    """``block_nonzeros`` of all taps together: (K, blocks); of a single tap no copy."""
    return np.asarray(blocks[0] if len(blocks) == 1 else blocks.sum(axis=0))


def filters_in_order(values: NDArray[Any], order: Ints | slice) -> NDArray[Any]:
    """(..., K, blocks) with the filters in another order; no copy where all are one, seen K times."""
    return values if values.strides[-2] == 0 else values[..., order, :]


def block_sizes(channels: int) -> Ints:
    """Channels of each block of CHANNEL_BLOCK, the last one what remains: (blocks,) int64."""
    return np.minimum(CHANNEL_BLOCK, channels - np.arange(0, channels, CHANNEL_BLOCK))


def sum_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Sums over blocks of CHANNEL_BLOCK channels.

    (..., C) -> (..., blocks), flags and integers as int64.
    """
    if values.dtype == np.bool_:  # a block's sum fits a byte, and bytes add up many at a time
        missing = -values.shape[-1] % CHANNEL_BLOCK
        padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]) if missing else values
        blocks = padded.view(np.uint8).reshape(*values.shape[:-1], -1, CHANNEL_BLOCK)
        return np.asarray(np.einsum("...i->...", blocks), np.int64)
    starts = np.arange(0, values.shape[-1], CHANNEL_BLOCK)
    dtype = np.int64 if values.dtype.kind in "iu" else np.float64
    return np.asarray(np.add.reduceat(values, starts, axis=-1, dtype=dtype))
