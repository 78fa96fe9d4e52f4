"""What an integer machine does to feature maps, a group of layers at a time.

Whole numbers in, whole numbers out.

Feature maps are float32 arrays of whole numbers, as BLAS is fast on them and every number and sum
is exact: below 2^24 in float32, below 2^53 in float64, whichever the layer's largest possible sum
allows.  So the results are those of integer registers, bit for bit.

    sum          acc = sum of x q over channels and kernel, in accumulator_bits
    output       y = floor((acc + bias) multiplier / 2^shift + 1/2), cut to the activation's word (and by ReLU to >= 0)
    Winograd     V = floor(B^T x B / 2^s[tap] + 1/2) in transformed_bits;  M[tap] = sum over channels of V W, in
                 accumulator_bits;  acc = A^T (M 2^shift[tap]) A at full width
    addition     y = floor(sum of x_i multiplier_i / 2^shift + 1/2)
    average      y = floor(sum of x multiplier / 2^shift + 1/2)

Sums that wrap around do so whatever their order; those that saturate are taken to do so once, at
the end of the sum.  Truncated products are taken to be cut once, as a sum.  Layers that are none of
these, such as local response normalization, are computed in float32 and rounded.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats, Ints
from accelsim.datapath.counts import Counts
from accelsim.datapath.integer import convolve as convolve_exactly
from accelsim.datapath.scales import Change, added, limits
from accelsim.hardware.datapath import Integers
from accelsim.network import Node
from accelsim.network.forward import apply_layer, convolve, pool_windows
from accelsim.network.layers import AveragePool, Conv, Linear
from accelsim.transforms.winograd import WholeTransforms, convolve_tiles, output_size


@dataclass(frozen=True, eq=False)
class Output:
    """The word that results are stored in, and the range that a ReLU or clipping leaves of it."""

    unit: float  # what one stands for
    low: float
    high: float
    bits: int

    def store(self, y: Floats | Array, counts: Counts) -> Array:
        """Whole numbers of any shape, cut to the range; y may be overwritten."""
        return counts.cut(y, self.low, self.high, self.bits).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One group of layers."""

    name: str
    mode: str  # how the machine runs it
    inputs: tuple[str, ...]  # feature maps that it reads
    output: str  # the feature map that it makes
    word: Output

    @abstractmethod
    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """The output of whole-number inputs, (N, ...) float32 each."""


@dataclass(frozen=True, eq=False)
class Rescaling:
    """From sums to outputs."""

    bias: Floats  # (K,), whole numbers in the unit of the sums
    change: Change  # of (K,) or one for all

    def apply(self, sums: Floats | Array) -> Floats | Array:
        """Outputs before they are cut: same shape."""
        return self.change.apply(sums, self.bias)


@dataclass(frozen=True, eq=False)
class ProductStep(Step):
    """A convolution or a fully connected layer as direct sums."""

    layer: Conv | Linear
    # whole numbers, (K, C / groups, R, S) or (K, C), float32 or float64 as the sums need
    weights: Array
    integers: Integers
    sum_shift: int  # bits of the products that are not summed
    rescaling: Rescaling
    weights_saturated: int

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        return self.word.store(self.rescaling.apply(self.sums(inputs[0], counts)), counts)

    def sums(self, x: Array, counts: Counts) -> Floats | Array:
        """Sums of products as registers hold them: (N, P, Q, K) or (N, K)."""
        sums: Floats | Array
        if isinstance(self.layer, Linear):
            sums = x.astype(self.weights.dtype, copy=False) @ self.weights.T
        elif self.weights.dtype == np.float32:
            sums = convolve(x, self.weights, self.layer)
        else:
            sums = convolve_exactly(x, self.weights, self.layer).astype(np.float64)
        if self.sum_shift:
            sums = np.floor(sums * 2.0**-self.sum_shift)
        counts.check_sums(sums, self.integers.accumulator_bits, self.integers.overflow)
        return sums


@dataclass(frozen=True, eq=False)
class WinogradStep(Step):
    """A convolution by F(m x m, R x S) on whole Winograd-domain filters."""

    layer: Conv
    m: int
    transforms: tuple[WholeTransforms, WholeTransforms]  # of the height and of the width
    # (groups, n_h n_w, C / groups, K / groups), whole numbers, float32 or float64 as the sums need
    taps: Array
    input_shifts: Ints  # (n_h, n_w), bits that transformed inputs lose
    input_bits: int  # of a transformed input
    sum_shift: int  # bits of the products that are not summed
    shifts: Ints  # (n_h, n_w), left shift of the taps' sums before the inverse transform
    inverse: type  # float32 or float64, as the inverse transform needs
    integers: Integers
    rescaling: Rescaling
    weights_saturated: int

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        return self.word.store(self.rescaling.apply(self.sums(inputs[0], counts)), counts)

    def sums(self, x: Array, counts: Counts) -> Floats | Array:
        """Sums of products after the inverse transform: (N, P, Q, K)."""
        size = output_size(x.shape, self.layer.kernel, self.layer.padding)
        sums: NDArray[Any] = np.empty((len(x), *size, self.layer.out_channels), self.inverse)
        A: tuple[NDArray[Any], ...] = tuple(t.A_T.astype(self.inverse) for t in self.transforms)
        B = tuple(t.B_T.astype(np.float32) for t in self.transforms)

        def multiply(V: Array) -> Array:
            return self._multiply(V, counts)

        convolve_tiles(x, self.m, self.layer.padding, ((A[0], A[1]), (B[0], B[1])), multiply, sums)
        return sums

    def _multiply(self, V: Array, counts: Counts) -> Array:
        """The taps' sums, aligned: (n_h, n_w, N, T_h, T_w, C) -> (n_h, n_w, N, T_h, T_w, K)."""
        G, taps, C, K = self.taps.shape
        flat = V.reshape(taps, -1, G, C)
        self._narrow(flat, counts)
        parts = [flat[:, :, g].astype(self.taps.dtype, copy=False) @ self.taps[g] for g in range(G)]
        sums = parts[0] if G == 1 else np.concatenate(parts, axis=2)
        if self.sum_shift:
            sums = np.floor(sums * self.taps.dtype.type(2.0**-self.sum_shift))
        counts.check_sums(sums, self.integers.accumulator_bits, self.integers.overflow)
        sums = sums.astype(self.inverse, copy=False)
        if self.shifts.any():
            sums *= self.inverse(2) ** self.shifts.reshape(-1, 1, 1).astype(self.inverse)
        return sums.reshape(*V.shape[:-1], G * K)

    def _narrow(self, V: Array, counts: Counts) -> None:
        """Transformed inputs as words of ``input_bits``, in place.  V: (taps, ...)."""
        counts.transformed += V.size
        largest = max(float(V.max(initial=0)), -float(V.min(initial=0)))
        counts.largest_transformed = max(counts.largest_transformed, int(largest))
        least, most = limits(self.input_bits)
        for tap, shift in zip(V, self.input_shifts.ravel(), strict=True):
            if shift:
                tap *= np.float32(2.0 ** -int(shift))
                tap += np.float32(0.5)
                np.floor(tap, out=tap)
            if not least <= -largest <= largest <= most:
                values = tap.astype(np.float64)
                counts.transformed_saturated += int(np.count_nonzero((values < least) | (values > most)))
                np.clip(tap, least, most, out=tap)


@dataclass(frozen=True, eq=False)
class SumStep(Step):
    """An element-wise sum of feature maps, each at a scale of its own."""

    changes: tuple[Change, ...]  # of one shift

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        return self.word.store(added(inputs, self.changes), counts)


@dataclass(frozen=True, eq=False)
class ScaleStep(Step):
    """A factor and a shift for each channel, where they are part of no layer with weights."""

    rescaling: Rescaling

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        return self.word.store(self.rescaling.change.apply(inputs[0]) + self.rescaling.bias, counts)


@dataclass(frozen=True, eq=False)
class AverageStep(Step):
    """Means of windows, or of whole images."""

    layer: AveragePool | None  # None: of whole images
    change: Change  # from a sum to the mean in the output's unit, one for all windows or (P, Q, 1)

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        x = inputs[0]
        if self.layer is None:
            sums = x.sum(axis=(1, 2), keepdims=True, dtype=np.float64)
        else:
            windows = pool_windows(x, self.layer, 0.0)
            sums = next(windows).astype(np.float64)
            for values in windows:
                sums += values
        return self.word.store(self.change.apply(sums), counts)


@dataclass(frozen=True, eq=False)
class ConcatStep(Step):
    """Channels of feature maps one after the other, each brought to the unit of the output."""

    changes: tuple[Change, ...]

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        parts: list[NDArray[Any]] = [change.apply(x) for x, change in zip(inputs, self.changes, strict=True)]
        joined: NDArray[Any] = np.concatenate(parts, axis=-1)
        return self.word.store(joined, counts)


@dataclass(frozen=True, eq=False)
class FloatStep(Step):
    """A layer that is computed in float32 and rounded."""

    node: Node
    input_units: tuple[float, ...]
    parameters: Mapping[str, Array]  # by short name

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        real = tuple(x * np.float32(unit) for x, unit in zip(inputs, self.input_units, strict=True))
        y = apply_layer(self.node, real, self.parameters)
        return self.word.store(np.floor(y.astype(np.float64) / self.word.unit + 0.5), counts)


@dataclass(frozen=True, eq=False)
class SameStep(Step):
    """A layer that moves numbers or compares them.

    Pooling by maximum, ReLU, padding, reordering.
    """

    node: Node

    def run(self, inputs: Sequence[Array], counts: Counts) -> Array:
        """What the step makes of its inputs, as ``Step.run`` says."""
        if self.mode == "bounds":
            return np.asarray(np.clip(inputs[0], self.word.low, self.word.high))
        return apply_layer(self.node, tuple(inputs), {})


def mean_sizes(layer: AveragePool, shape: tuple[int, ...]) -> Ints:
    """Elements of each window of an image (H, W, C): (P, Q, 1)."""
    return np.asarray(np.multiply.outer(*layer.counts((shape[0], shape[1]))))[:, :, None]
