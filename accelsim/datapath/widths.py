"""The cheapest words that keep a network's accuracy on a machine.

One width for all layers, then weights by layer.

What a width costs is the energy of the multiplies that are left, by the measured gates of a lane
(``hardware.gates.lane_energy``, both operands not zero): of every layer its non-zero weights in the
machine's domain times the outputs or tiles that each serves.  Buffers, DRAM and the lanes' clock
are left out.

The search narrows one unit by one bit as long as the images lose no more than the tolerance, always
the one that then costs least.  Where the words as stated lose more, but so little that ``validate``
lets them pass (its verdict allows for how few the images are), none may lose more than these.  Sums
get the bits that the largest one on the images takes, and one to spare.  Then the weights of each
layer are narrowed on their own, the most expensive layer first.  So it ends at words none of which
can lose a bit alone; that no other words are cheaper is not shown.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Floats
from accelsim.datapath.certainty import held, standard_error
from accelsim.datapath.counts import bits_for
from accelsim.datapath.floating import machine_filters, machine_tiles
from accelsim.datapath.probe import Probe
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware import gates
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.network.count import winograd_multiplies
from accelsim.network.layers import Conv
from accelsim.transforms.winograd import transformed_bits

IMAGES = 300  # that are looked at, at most
LEAST = 2  # bits of a word
SPARE = 1  # bits of sums beyond the largest seen


@dataclass(frozen=True)
class FoundWidths:
    """The words of one machine."""

    machine: str
    reference: float  # points of top-1, or dB, of the network that losses are counted from
    images: int  # that were looked at
    stated: dict[str, int]  # bits by key of ``arithmetic``
    stated_score: float
    stated_pj: float  # of the multiplies of an image
    uniform: dict[str, int] | None  # None where the stated words lose too much
    uniform_score: float | None
    uniform_pj: float | None
    layers: dict[str, int] | None  # bits of weights by layer
    layers_score: float | None
    layers_pj: float | None

    def to_dict(self) -> dict[str, Any]:
        """One machine of ``accelsim validate --search-widths --json``."""
        return asdict(self)


def search_widths(
    model: DualModel,
    datapath: Datapath,
    pixels: NDArray[np.uint8],
    score: Callable[[Array], Floats],
    reference: Floats,
    tolerance: float,
) -> FoundWidths:
    """Narrow a machine's words on images (N, H, W, C) until they would lose more than the tolerance.

    score: how good outputs (N, ...) are, image by image: (N,).  reference: the same of the network
    that losses are counted from.  Raises InputError if the machine does not compute in whole
    numbers.
    """
    if datapath.number != "int" or datapath.integers.codebook_bits is not None:
        raise InputError(f"{datapath.machine}: expected whole-number weights, not codebooks, for --search-widths")
    probe = Probe(model, datapath, pixels, score)
    stated = datapath
    scores = probe.run(probe.build(stated))[0]
    stated_score = float(scores.mean())
    wanted = float(reference.mean()) - tolerance
    lost = reference - scores
    passes = held(float(lost.mean()), standard_error(lost), tolerance)
    search = _Search(probe, min(wanted, stated_score) if passes else wanted)
    found = FoundWidths(
        machine=datapath.machine,
        reference=float(reference.mean()),
        images=len(pixels),
        stated=_widths(stated),
        stated_score=stated_score,
        stated_pj=search.cost_pj(stated),
        uniform=None,
        uniform_score=None,
        uniform_pj=None,
        layers=None,
        layers_score=None,
        layers_pj=None,
    )
    if stated_score < search.least:
        return found
    uniform = search.sums_that_fit(search.uniform(stated))
    layers = search.by_layer(uniform)
    return replace(
        found,
        uniform=_widths(uniform),
        uniform_score=search.score(uniform),
        uniform_pj=search.cost_pj(uniform),
        layers=dict(layers.layer_weight_bits),
        layers_score=search.score(layers),
        layers_pj=search.cost_pj(layers),
    )


class _Search:
    """The search for the narrowest words of one machine whose score still holds."""

    def __init__(self, probe: Probe, least: float):
        self.probe = probe
        self.least = least  # score that holds
        self.multiplies = left_multiplies(probe.model, probe.datapath)
        self.tiles = machine_tiles(probe.model, probe.datapath)

    def score(self, datapath: Datapath) -> float:
        """How well the images are answered with these words: right answers or dB, as the probe counts."""
        return float(self.probe.run(self.probe.build(datapath))[0].mean())

    def holds(self, datapath: Datapath) -> bool:
        """Whether the images lose no more than the tolerance."""
        return self.score(datapath) >= self.least

    def cost_pj(self, datapath: Datapath) -> float:
        """Energy of the multiplies of an image."""
        own = dict(datapath.layer_weight_bits)
        integers = datapath.integers
        total = 0.0
        for name, multiplies in self.multiplies.items():
            bits = own.get(name, integers.weight_bits)
            operand = self._operand_bits(name, integers)
            signed = name in self.tiles
            total += multiplies * gates.lane_energy(bits, operand, integers.accumulator_bits, signed).busy
        return total

    def _operand_bits(self, name: str, integers: Integers) -> int:
        """Bits that a layer's weights are multiplied by."""
        if name not in self.tiles:
            return integers.activation_bits
        layer = self.probe.model.network.graph.node(name).layer
        assert isinstance(layer, Conv)
        m = self.tiles[name]
        points = self.probe.datapath.points_of(m)
        exact = int(transformed_bits(m, layer.kernel, integers.activation_bits, points).max())
        return min(exact, integers.transformed_bits or exact)

    def uniform(self, datapath: Datapath) -> Datapath:
        """One bit less of one unit at a time, the cheapest that holds, until none does."""
        keys = ["weight_bits", "activation_bits"]
        if self.tiles and datapath.integers.transformed_bits is not None:
            keys.append("transformed_bits")
        while True:
            tried = [_narrowed(datapath, key) for key in keys if getattr(datapath.integers, key) > LEAST]
            held = (one for one in sorted(tried, key=self.cost_pj) if self.holds(one))
            cheapest = next(held, None)
            if cheapest is None:
                return datapath
            datapath = cheapest

    def sums_that_fit(self, datapath: Datapath) -> Datapath:
        """Sums as wide as the largest of the images, and SPARE more; never wider than stated."""
        counts = self.probe.run(self.probe.build(datapath))[1]
        bits = SPARE + bits_for(max(count.largest_sum for count in counts))
        integers = datapath.integers
        if integers.products != "full" or bits >= integers.accumulator_bits:
            return datapath
        return replace(datapath, integers=replace(integers, accumulator_bits=bits))

    def by_layer(self, datapath: Datapath) -> Datapath:
        """Weights of each layer as narrow as holds, the layer with the most multiplies first."""
        bits = dict.fromkeys(self.multiplies, datapath.integers.weight_bits)
        for name in sorted(bits, key=lambda name: -self.multiplies[name]):
            while bits[name] > LEAST:
                tried = bits | {name: bits[name] - 1}
                if not self.holds(replace(datapath, layer_weight_bits=tuple(tried.items()))):
                    break
                bits = tried
        return replace(datapath, layer_weight_bits=tuple(bits.items()))


def left_multiplies(model: DualModel, datapath: Datapath) -> dict[str, float]:
    """Multiplies of an image by a weight that is not zero, by layer."""
    tiles = machine_tiles(model, datapath)
    counts = {}
    for name, multiplies in winograd_multiplies(model.network.graph, tiles).items():
        if name in tiles:
            weights = machine_filters(model, datapath, name, tiles[name])
        else:
            weights = model.network.arrays[f"{name}.weight"]
        counts[name] = multiplies * int(np.count_nonzero(weights)) / max(1, weights.size)
    return counts


def _narrowed(datapath: Datapath, key: str) -> Datapath:
    """The arithmetic with one word a bit narrower."""
    integers = datapath.integers
    word: dict[str, Any] = {key: getattr(integers, key) - 1}
    return replace(datapath, integers=replace(integers, **word))


def _widths(datapath: Datapath) -> dict[str, int]:
    """Bits by key of ``arithmetic``."""
    keys = ["weight_bits", "activation_bits", "accumulator_bits"]
    if datapath.kind == "winograd" and datapath.integers.transformed_bits is not None:
        keys.insert(2, "transformed_bits")
    return {key: getattr(datapath.integers, key) for key in keys}
