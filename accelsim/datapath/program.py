"""From a model and a machine's arithmetic to the steps of an integer machine.

Whole weights, biases, shifts.

What depends on the images alone is calibrated beforehand (``Calibrated``): the unit of each feature
map, how many bits transformed inputs lose where they are narrower than the transform, and products
where sums are narrower than these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite

import numpy as np

from accelsim.arrays import Floats, Ints
from accelsim.datapath.floating import machine_filters, machine_tiles
from accelsim.datapath.groups import MOVING, FusedLayer, groups, hands_on, norm_factors, scale_and_bias
from accelsim.datapath.scales import DOUBLE, PART, SINGLE, change, common_changes
from accelsim.datapath.steps import (
    AverageStep,
    ConcatStep,
    FloatStep,
    Output,
    ProductStep,
    Rescaling,
    SameStep,
    ScaleStep,
    Step,
    SumStep,
    WinogradStep,
    mean_sizes,
)
from accelsim.datapath.weights import WholeWeights, weight_words, whole_weights
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.memo import Memo
from accelsim.network import INPUT
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    GlobalAveragePool,
    Linear,
    Relu,
)
from accelsim.transforms.winograd import WholeTransforms, transformed_bits, whole_transforms

LEAST_BITS = 2  # of a word that computes: a sign, and what it is of

# Layers whose outputs are no less than zero where no input is.
KEEP_SIGN = (*MOVING, AveragePool, GlobalAveragePool, Concat, Add)


@dataclass(frozen=True)
class Calibrated:
    """What was found on calibration images, by the name of a feature map or of a layer."""

    # what one stands for, of the input and of every group's output that has its own
    units: Mapping[str, float]
    # (n_h, n_w), where not all are zero
    input_shifts: Mapping[str, Ints] = field(default_factory=dict)
    sum_shifts: Mapping[str, int] = field(default_factory=dict)  # where not zero


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """All that an integer machine needs to run a network."""

    input: Output  # the word of the network's input
    steps: tuple[Step, ...]
    units: Mapping[str, float]  # of every feature map


def check_words(datapath: Datapath) -> None:
    """Raise InputError if a word of the machine's whole numbers is too short to hold more than zero.

    One bit is the sign.
    """
    integers = datapath.integers
    words = {
        "activation_bits": integers.activation_bits,
        "transformed_bits": integers.transformed_bits,
        "codebook_bits": integers.codebook_bits,
    }
    if integers.codebook_bits is None:
        words["weight_bits"] = min([integers.weight_bits, *(bits for _, bits in datapath.layer_weight_bits)])
    for key, bits in words.items():
        if bits is not None and bits < LEAST_BITS:
            raise InputError(f"{datapath.machine}: arithmetic.{key} {bits}, expected at least {LEAST_BITS} to compute")


def layer_transforms(datapath: Datapath, name: str, kernel: tuple[int, int], m: int) -> tuple[WholeTransforms, ...]:
    """A^T and B^T of a layer's tile in whole numbers, of rows and of columns.

    Raises InputError where no shift makes them whole.
    """
    try:
        return tuple(whole_transforms(m, r, datapath.points_of(m)) for r in kernel)
    except ValueError as error:
        expected = "expected another tile, other points or a largest_kernel below it"
        raise InputError(f"{datapath.machine}: layer {name}: {error}; {expected}") from None


def build(
    model: DualModel,
    datapath: Datapath,
    calibrated: Calibrated,
    rounded: Memo[WholeWeights] | None = None,
) -> IntegerProgram:
    """The steps of the model on the machine.

    rounded: weights that were rounded before, of this model and this domain (and tile size), to
    round none twice.  Raises InputError if words are so wide that sums are beyond 2^53, or a tile
    size has transforms beyond shifts.
    """
    check_words(datapath)
    planner = _Planner(model, datapath, calibrated, Memo(0) if rounded is None else rounded)
    steps = tuple(planner.step(group) for group in groups(model.network.graph))
    word = planner.word(INPUT, -np.inf, np.inf)
    return IntegerProgram(word, steps, planner.units)


class _Planner:
    """What is known while the steps are built, one after the other."""

    def __init__(
        self,
        model: DualModel,
        datapath: Datapath,
        calibrated: Calibrated,
        rounded: Memo[WholeWeights],
    ):
        self.model = model
        self.rounded = rounded
        self.datapath = datapath
        self.integers: Integers = datapath.integers
        self.calibrated = calibrated
        self.tiles = machine_tiles(model, datapath)
        self.units = {INPUT: calibrated.units[INPUT]}
        self.never_negative: set[str] = set()  # feature maps

    def word(self, name: str, low: float, high: float) -> Output:
        """The word of a feature map; its range from that of real values."""
        unit = self.units[name]
        least, most = (np.floor(bound / unit + 0.5) if isfinite(bound) else bound for bound in (low, high))
        return Output(unit=unit, low=least, high=most, bits=self.integers.activation_bits)

    def step(self, group: FusedLayer) -> Step:
        """The step of an integer machine that runs a layer with what rides on it."""
        inputs = group.node.inputs
        own = self.calibrated.units[group.output] if group.rounds else self.units[inputs[0]]
        self.units[group.output] = own
        word = self.word(group.output, group.low, group.high)
        if word.low >= 0 or (isinstance(group.node.layer, KEEP_SIGN) and self.never_negative.issuperset(inputs)):
            self.never_negative.add(group.output)
        common = (group.name, self._mode(group), inputs, group.output, word)
        units = [self.units[source] for source in inputs]
        ratios = [unit / own for unit in units]
        multiplier_bits = self.integers.multiplier_bits
        shapes = self.model.network.graph.shapes
        match group.node.layer:
            case Conv() if group.name in self.tiles:
                return self._winograd(group, partial(WinogradStep, *common), units[0], own)
            case Conv() | Linear():
                return self._product(group, partial(ProductStep, *common), units[0], own)
            case Add():
                largest = 2.0 ** (self.integers.activation_bits - 1)
                return SumStep(*common, changes=tuple(common_changes(ratios, multiplier_bits, largest)))
            case Affine() | BatchNorm():
                factor, shift = norm_factors(self.model.network, group.node)
                bias = np.rint(shift / own)
                return ScaleStep(*common, rescaling=Rescaling(bias, change(factor * ratios[0], multiplier_bits)))
            case GlobalAveragePool():
                height, width, _ = shapes[inputs[0]]
                return AverageStep(*common, layer=None, change=change(ratios[0] / (height * width), multiplier_bits))
            case AveragePool() as layer:
                sizes = mean_sizes(layer, shapes[inputs[0]])
                return AverageStep(*common, layer=layer, change=change(ratios[0] / sizes, multiplier_bits))
            case Concat():
                return ConcatStep(*common, changes=tuple(change(ratio, multiplier_bits) for ratio in ratios))
            case layer if hands_on(layer):
                return SameStep(*common, node=group.node)
            case layer:
                arrays = self.model.network.arrays
                parameters = {key: arrays[f"{group.name}.{key}"] for key in layer.parameters()}
                return FloatStep(
                    *common,
                    node=group.node,
                    input_units=tuple(units),
                    parameters=parameters,
                )

    def _mode(self, group: FusedLayer) -> str:
        layer = group.node.layer
        if isinstance(layer, Relu | Clip):
            return "bounds"
        return f"winograd-f{self.tiles[group.name]}" if group.name in self.tiles else layer.op

    def _product(
        self,
        group: FusedLayer,
        make: "partial[ProductStep]",
        x_unit: float,
        y_unit: float,
    ) -> Step:
        """A layer with weights as direct sums."""
        layer = group.node.layer
        assert isinstance(layer, Conv | Linear)
        scale, bias = scale_and_bias(self.model.network, group)
        w = self.model.network.arrays[f"{group.name}.weight"].astype(np.float64)
        w = w * scale.reshape(-1, *[1] * (w.ndim - 1))
        whole = self._whole(group, w.reshape(len(w), -1, 1), per_tap=False)
        largest = self._largest_sum(whole.values, group.node.inputs[0] in self.never_negative)
        sum_shift = self.calibrated.sum_shifts.get(group.name, 0)
        unit = whole.units * x_unit * 2.0**sum_shift
        return make(
            layer=layer,
            weights=whole.values.reshape(w.shape).astype(self._real(group, largest)),
            integers=self.integers,
            sum_shift=sum_shift,
            rescaling=self._rescaling(group, bias, unit, y_unit, min(largest, self._register())),
            weights_saturated=whole.saturated,
        )

    def _winograd(
        self,
        group: FusedLayer,
        make: "partial[WinogradStep]",
        x_unit: float,
        y_unit: float,
    ) -> Step:
        """A convolution in the Winograd domain."""
        layer = group.node.layer
        assert isinstance(layer, Conv)
        m = self.tiles[group.name]
        points = self.datapath.points_of(m)
        transforms = layer_transforms(self.datapath, group.name, layer.kernel, m)
        W = machine_filters(self.model, self.datapath, group.name, m)
        scale, bias = scale_and_bias(self.model.network, group)
        K, C, n_h, n_w = W.shape
        flat = W.reshape(K, C, n_h * n_w).astype(np.float64) * scale[:, None, None]
        whole = self._whole(group, flat, self.integers.tap_scales == "per_tap")
        input_shifts = self.calibrated.input_shifts.get(group.name, np.zeros((n_h, n_w), np.int64))
        exponents = whole.exponents.reshape(n_h, n_w) + input_shifts - _scaled_by(transforms)
        used = np.abs(whole.values).sum(axis=(0, 1)).reshape(n_h, n_w) > 0
        least = int(exponents[used].min()) if used.any() else 0
        shifts = np.where(used, exponents - least, 0)
        exact = transformed_bits(m, layer.kernel, self.integers.activation_bits, points)
        input_bits = int(exact.max()) if self.integers.transformed_bits is None else self.integers.transformed_bits
        taps = self._largest_taps(whole.values, np.minimum(exact, input_bits).ravel())
        sum_shift = self.calibrated.sum_shifts.get(group.name, 0)
        unit = whole.units * x_unit * 2.0 ** (least + sum_shift)
        inverse = _largest_inverse(transforms, np.minimum(taps, self._register()), shifts)
        G = layer.groups
        return make(
            layer=layer,
            m=m,
            transforms=(transforms[0], transforms[1]),
            taps=np.ascontiguousarray(whole.values.reshape(G, K // G, C, -1).transpose(0, 3, 2, 1)).astype(
                self._real(group, float(taps.max(initial=0)))
            ),
            input_shifts=input_shifts,
            input_bits=input_bits,
            sum_shift=sum_shift,
            shifts=shifts,
            inverse=self._real(group, inverse),
            integers=self.integers,
            rescaling=self._rescaling(group, bias, unit, y_unit, inverse),
            weights_saturated=whole.saturated,
        )

    def _register(self) -> float:
        """No sum that a register holds is beyond it."""
        return float(2.0 ** (self.integers.accumulator_bits - 1))

    def _whole(self, group: FusedLayer, w: Floats, per_tap: bool) -> WholeWeights:
        """One layer's weights (K, C, taps), rounded to its words."""
        bits = dict(self.datapath.layer_weight_bits).get(group.name, self.integers.weight_bits)
        words = replace(self.integers, weight_bits=bits)
        key = (group.name, per_tap, *weight_words(words))
        return self.rounded.get(key, lambda: whole_weights(w, words, per_tap), size=8 * w.size)

    def _largest_sum(self, values: Floats, never_negative: bool) -> float:
        """The largest magnitude of a sum of products or of any part of it.  values: (K, C, 1)."""
        word = 2.0 ** (self.integers.activation_bits - 1)
        if not never_negative:
            return float(np.abs(values).sum(axis=(1, 2)).max(initial=0)) * word
        signs = (np.maximum(sign * values, 0).sum(axis=(1, 2)).max(initial=0) for sign in (1, -1))
        return float(max(signs)) * (word - 1)

    def _largest_taps(self, values: Floats, bits: Ints) -> Floats:
        """The largest sum that each tap can have: (taps,).  values: (K, C, taps)."""
        return np.asarray(np.abs(values).sum(axis=1).max(axis=0) * 2.0 ** (bits - 1))

    def _real(self, group: FusedLayer, largest: float) -> type:
        """The NumPy type whose whole numbers up to ``largest`` are exact, with room for a sum that wraps around."""
        room = 2.0 ** (self.integers.accumulator_bits - 1)
        needed = largest + (room if largest >= room else 0)
        if needed >= DOUBLE:
            raise self._too_wide(group)
        return np.float32 if needed < SINGLE else np.float64

    def _rescaling(
        self,
        group: FusedLayer,
        bias: Floats,
        unit: Floats,
        y_unit: float,
        largest: float,
    ) -> Rescaling:
        """From sums of these units (K,), up to ``largest``, to outputs.  bias: real, (K,)."""
        found = change(unit / y_unit, self.integers.multiplier_bits)
        whole = np.rint(bias / unit)
        reached = largest + float(np.abs(whole).max(initial=0))
        found = replace(found, single=found.holds(reached))
        product = reached * float(np.abs(found.multiplier).max(initial=1))
        if product >= DOUBLE / 2:
            least = PART if product >= 2.0**61 else 1
            if reached >= DOUBLE or found.shift.min(initial=least) < least or found.shift.max(initial=1) > 60:
                raise self._too_wide(group)
            found = replace(found, wide=True)
        return Rescaling(whole, found)

    def _too_wide(self, group: FusedLayer) -> InputError:
        widths = f"{self.integers.weight_bits}-bit weights and {self.integers.activation_bits}-bit activations"
        return InputError(
            f"{self.datapath.machine}: arithmetic: layer {group.name} sums {widths} to over 2^53, expected less; "
            "--float runs it without widths"
        )


def _scaled_by(transforms: tuple[WholeTransforms, ...]) -> Ints:
    """By how many powers of two each tap is larger than it should be: (n_h, n_w)."""
    h, w = (t.input_exponents + t.output_exponents for t in transforms)
    return np.asarray(np.add.outer(h, w))


def _largest_inverse(transforms: tuple[WholeTransforms, ...], taps: Floats, shifts: Ints) -> float:
    """The largest output that the inverse transform can have.

    taps: (n_h n_w,), shifts: (n_h, n_w).
    """
    A_h, A_w = (np.abs(t.A_T).astype(np.float64) for t in transforms)
    aligned = taps.reshape(shifts.shape) * 2.0**shifts
    return float((A_h @ aligned @ A_w.T).max())
