"""From some images to the scales of an integer machine.

Ranges of the float network's feature maps, and what follows.

The float network runs in the machine's domain.  The ranges of feature maps give their units; those
of transformed inputs how many bits they lose where words are narrower than the transform; and where
a machine cuts products to the width of its sums, the largest sum of an integer run of the same
images says by how many bits.  Everything is in the order of the images, so the same images give the
same scales.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Ints
from accelsim.datapath.batches import in_batches
from accelsim.datapath.counts import Counts, bits_for
from accelsim.datapath.execute import add_counts, run_integers
from accelsim.datapath.floating import machine_tiles, winograd_part
from accelsim.datapath.groups import groups
from accelsim.datapath.program import Calibrated, build, check_words, layer_transforms
from accelsim.datapath.scales import Histogram, exponent_of, unit_of
from accelsim.dual.model import DualModel
from accelsim.errors import NumericalError
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.network import INPUT, Graph, Node, forward
from accelsim.network.layers import Conv
from accelsim.transforms.winograd import Points, transform_inputs, transformed_bits, whole_transforms

IMAGES = 256  # that scales are calibrated from where nothing else is said
BATCH = 32
WIDE_SUM = 48  # bits of sums while their size is being found


@dataclass
class Ranges:
    """Magnitudes of a float network.

    Of the input and of each group's output, and of transformed inputs, tap by tap.
    """

    maps: dict[str, Histogram] = field(default_factory=dict)
    # [n_h][n_w], where they were asked for
    taps: dict[str, list[list[Histogram]]] = field(default_factory=dict)

    def merge(self, other: "Ranges") -> None:
        """Take in those of other images."""
        for name, histogram in self.maps.items():
            histogram.merge(other.maps[name])
        for name, rows in self.taps.items():
            for row, more in zip(rows, other.taps[name], strict=True):
                for histogram, one in zip(row, more, strict=True):
                    histogram.merge(one)


def calibrate(model: DualModel, datapath: Datapath, pixels: NDArray[Any]) -> Calibrated:
    """The scales of the model on the machine.

    pixels: (N, H, W, C) uint8 (or float32 on that scale), N >= 1.  Raises InputError if a word is
    too short.
    """
    ranges = measure_ranges(model, datapath, pixels)
    return scales_of(model, datapath, ranges, pixels)


def measure_ranges(
    model: DualModel,
    datapath: Datapath,
    pixels: NDArray[Any],
    *,
    taps: bool | None = None,
) -> Ranges:
    """Run the float network.

    taps: whether transformed inputs are looked at; by default, if they are narrowed.  Raises
    NumericalError if a map is not of finite numbers.
    """
    graph = model.network.graph
    tiles = machine_tiles(model, datapath)
    narrowed = set(tiles) if taps else {name for name in tiles if taps is None and _narrowed(model, datapath, name)}
    wanted = {group.output for group in groups(graph) if group.rounds}
    detailed = datapath.integers.calibration != "max"
    convolution = winograd_part(model, datapath) if tiles else None

    def look(x: Array) -> Ranges:
        found = Ranges({name: Histogram(detailed) for name in (INPUT, *wanted)})
        _check_finite(graph, INPUT, x)
        found.maps[INPUT].add(x)

        def observe(node: Node, inputs: tuple[Array, ...], output: Array) -> None:
            if node.name in wanted:
                _check_finite(graph, node.name, output)
                found.maps[node.name].add(output)
            if node.name in narrowed:
                assert isinstance(node.layer, Conv)
                m = tiles[node.name]
                V = transform_inputs(inputs[0], m, node.layer.kernel, node.layer.padding, datapath.points_of(m))
                found.taps[node.name] = [[_histogram(values, detailed) for values in row] for row in V]

        forward(model.network, x, convolution=convolution, observe=observe)
        return found

    first, *others = in_batches(graph, pixels, look, batch=BATCH)
    for other in others:
        first.merge(other)
    return first


def _check_finite(graph: Graph, name: str, values: Array) -> None:
    if not np.isfinite(values.sum(dtype=np.float64)):
        raise NumericalError(
            f"{graph.name}: map {name} on the images is no finite numbers, so that it has no scale; expected weights "
            "and pixels that float32 can multiply"
        )


def _histogram(values: Array, detailed: bool) -> Histogram:
    found = Histogram(detailed)
    found.add(values)
    return found


def scales_of(
    model: DualModel,
    datapath: Datapath,
    ranges: Ranges,
    pixels: NDArray[Any],
) -> Calibrated:
    """The scales that follow from ranges.

    Of pixels only the sums are looked at, where products are truncated.  Raises InputError if a
    word is too short.
    """
    check_words(datapath)
    integers = datapath.integers
    bits = integers.activation_bits
    of_maps = {name: histogram.range(integers, bits) for name, histogram in ranges.maps.items()}
    units = {name: unit_of(largest, integers, bits) for name, largest in of_maps.items()}
    graph = model.network.graph
    shifts = {}
    for name, m in machine_tiles(model, datapath).items():
        if _narrowed(model, datapath, name):
            node = graph.node(name)
            assert isinstance(node.layer, Conv)
            x_unit = _unit_of_map(graph, units, node.inputs[0])
            transform = (m, node.layer.kernel, datapath.points_of(m))
            shifts[name] = _input_shifts(ranges.taps[name], transform, x_unit, integers)
    found = Calibrated(units, shifts)
    if integers.products == "truncated":
        found = replace(found, sum_shifts=_sum_shifts(model, datapath, found, pixels))
    return found


def _narrowed(model: DualModel, datapath: Datapath, name: str) -> bool:
    """Whether a layer's transformed inputs can be beyond their words."""
    bits = datapath.integers.transformed_bits
    layer = model.network.graph.node(name).layer
    assert isinstance(layer, Conv)
    m = machine_tiles(model, datapath)[name]
    layer_transforms(datapath, name, layer.kernel, m)
    exact = transformed_bits(m, layer.kernel, datapath.integers.activation_bits, datapath.points_of(m))
    return bits is not None and bits < exact.max()


def _unit_of_map(graph: Graph, units: dict[str, float], name: str) -> float:
    """The unit of a feature map: its own, or that of the map which a layer without one hands on."""
    if name in units:
        return units[name]
    source = next(group.node.inputs[0] for group in groups(graph) if group.output == name)
    return _unit_of_map(graph, units, source)


def _input_shifts(
    taps: list[list[Histogram]],
    transform: tuple[int, tuple[int, int], Points | None],
    x_unit: float,
    integers: Integers,
) -> Ints:
    """Bits that transformed inputs lose, tap by tap or all alike: (n_h, n_w).

    transform: m, kernel, points.
    """
    m, kernel, points = transform
    assert integers.transformed_bits is not None
    bits = integers.transformed_bits
    h, w = (whole_transforms(m, r, points).input_exponents for r in kernel)
    exact = transformed_bits(m, kernel, integers.activation_bits, points)
    shifts = np.zeros(exact.shape, np.int64)
    for i, j in np.ndindex(*exact.shape):
        largest = taps[i][j].range(replace(integers, scales="power_of_two"), bits)
        size = largest * 2.0 ** int(h[i] + w[j]) / x_unit
        shifts[i, j] = min(max(0, exponent_of(size, bits)), max(0, int(exact[i, j]) - bits))
    return np.full_like(shifts, shifts.max()) if integers.tap_scales == "one" else shifts


def _sum_shifts(
    model: DualModel,
    datapath: Datapath,
    found: Calibrated,
    pixels: NDArray[Any],
) -> dict[str, int]:
    """Bits that sums of products lose so that those of the images fit, by layer."""
    wide = replace(datapath, integers=replace(datapath.integers, accumulator_bits=WIDE_SUM))
    program = build(model, wide, found)
    totals = [Counts() for _ in program.steps]
    prepare = model.network.graph.preprocessing.apply
    for first in range(0, len(pixels), BATCH):
        add_counts(totals, run_integers(program, prepare(pixels[first : first + BATCH]))[1])
    bits = datapath.integers.accumulator_bits
    pairs = zip(program.steps, totals, strict=True)
    lost = {step.name: bits_for(total.largest_sum) - bits for step, total in pairs}
    return {name: shift for name, shift in lost.items() if shift > 0}
