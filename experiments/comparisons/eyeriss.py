"""Eyeriss' silicon, on AlexNet and VGG-16, beside hwconfigs/eyeriss.yaml: Chen et al., IEEE JSSC 52(1), 2017.

Published: processing time (DRAM overlapped), active PEs, global-buffer and DRAM bytes, power of the chip, layer by
layer; AlexNet's mapping.  Of that we take m, n, e and p, and let the machine's own objective choose q, r and t
(``chosen``), blind to what was measured: it chooses the published ones in four layers, in conv3 conv4's, and there
the published ones contradict the published bytes (``published_sums_mb``).  VGG-16's mapping is not published: the
channels of a pass follow from its buffer bytes (each pass reads and writes its partial sums once), the sets from the
active PEs, the rest from what fits; so its buffer bytes and PEs are no evidence, its times and powers are.  The tables
of the paper are images; ours follow a transcription (github.com/cucapra/fodlam), corrected where columns did not add up
to their totals; VGG-16's DRAM column does not, so only its total is compared.  MB: 2^20 bytes; with 10^6 the partial
sums alone would exceed VGG-16's buffer bytes.
"""

from dataclasses import dataclass, replace
from functools import cache

import accelsim
from accelsim.hardware.energy import prices, static_mw
from accelsim.simulator.machines.row_stationary.machine import RowStationaryMachine
from accelsim.simulator.machines.row_stationary.passes import PassMapping, active_pes
from accelsim.simulator.machines.row_stationary.search import choose_mapping, score_mapping
from accelsim.simulator.machines.row_stationary.steps import schedule_passes
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork, layer_works
from experiments.comparisons.row import Row, compared, errors
from experiments.paths import HWCONFIGS, WORKLOADS

CHIP = "Eyeriss, silicon"
COMMAND = "python -m experiments.eyeriss"
MB = 2**20


@dataclass(frozen=True)
class Figures:
    """Figures of one layer, the whole batch: published or simulated."""

    power_mw: float
    total_ms: float
    processing_ms: float
    active_pes: int
    buffer_mb: float
    dram_mb: float


@dataclass(frozen=True)
class Network:
    """What was published of one network.  layers: by name, figures and the mapping (inferred for VGG-16)."""

    table: str
    batch: int
    layers: dict[str, tuple[Figures, PassMapping]]
    total: Figures


_SAME = PassMapping(64, 4, 13, 13, 16, 3, 2, 2)
ALEXNET = Network(
    "alexnet-eyeriss",
    4,
    {
        "conv1": (Figures(332, 20.9, 16.5, 154, 18.5, 5.0), PassMapping(96, 1, 7, 55, 16, 1, 1, 2)),
        "conv2": (Figures(288, 41.9, 39.2, 135, 77.6, 4.0), PassMapping(64, 1, 27, 27, 16, 2, 1, 1)),
        "conv3": (Figures(266, 23.6, 21.8, 156, 50.2, 3.0), PassMapping(64, 4, 13, 13, 16, 4, 1, 4)),
        "conv4": (Figures(235, 18.4, 16.0, 156, 37.4, 2.1), _SAME),
        "conv5": (Figures(236, 10.5, 10.0, 156, 24.9, 1.3), _SAME),
    },
    Figures(278, 115.3, 103.5, 148, 208.5, 15.4),
)
PAD_WORDS = 12  # of inputs, a PE
CONV3 = "conv3"  # the layer whose published mapping and bytes contradict each other

_WIDE = PassMapping(64, 1, 13, 56, 16, 1, 1, 4)
_MIDDLE = PassMapping(64, 1, 13, 56, 16, 2, 1, 4)
_SMALL = PassMapping(32, 3, 14, 28, 16, 2, 2, 2)
_LAST = PassMapping(64, 3, 14, 14, 16, 4, 2, 2)
VGG16 = Network(
    "vgg16-eyeriss",
    3,
    {
        "conv1_1": (Figures(247, 76.2, 38.0, 156, 112.6, 15.4), _WIDE),
        "conv1_2": (Figures(218, 910.3, 810.6, 156, 2402.8, 54.0), _WIDE),
        "conv2_1": (Figures(242, 470.3, 405.3, 156, 1201.4, 33.4), _WIDE),
        "conv2_2": (Figures(231, 894.3, 810.8, 156, 2402.3, 48.5), _WIDE),
        "conv3_1": (Figures(254, 241.1, 204.0, 156, 607.4, 20.2), _MIDDLE),
        "conv3_2": (Figures(235, 460.9, 408.1, 156, 1214.8, 32.2), _MIDDLE),
        "conv3_3": (Figures(233, 457.7, 408.1, 156, 1214.8, 30.8), _MIDDLE),
        "conv4_1": (Figures(278, 135.8, 105.1, 168, 321.8, 17.8), _SMALL),
        "conv4_2": (Figures(261, 254.8, 210.0, 168, 643.7, 20.6), _SMALL),
        "conv4_3": (Figures(240, 246.3, 210.0, 168, 643.7, 22.8), _SMALL),
        "conv5_1": (Figures(258, 54.3, 48.3, 168, 90.0, 6.3), _LAST),
        "conv5_2": (Figures(236, 53.7, 48.5, 168, 90.0, 5.7), _LAST),
        "conv5_3": (Figures(230, 53.7, 48.5, 168, 90.0, 5.6), _LAST),
    },
    Figures(236, 4309.5, 3755.2, 158, 11035.8, 321.1),
)
CALIBRATED = "conv1"  # the layer of AlexNet that gave the clock network's power


def machine() -> RowStationaryMachine:
    """The shipped description of Eyeriss."""
    found = accelsim.load_hardware(HWCONFIGS / "eyeriss.yaml")
    assert isinstance(found, RowStationaryMachine)
    return found


def works(network: Network) -> dict[str, LayerWork]:
    """A network's convolutions, in order, by name."""
    model = accelsim.load_workload(WORKLOADS / f"{network.table}.csv")
    found = layer_works(model, network.batch)
    return dict(zip(network.layers, found, strict=True))


def simulate(work: LayerWork, mapping: PassMapping | None = None) -> Figures:
    """The layer by a given mapping, or by the one that the simulator's search finds.  Power: without the DRAM."""
    m = machine()
    mapping = mapping or choose_mapping(work, m)[0]
    schedule = schedule_passes(work, m, mapping)
    table = prices(m)
    ms = int(schedule.compute_cycles.sum()) * m.ns_per_cycle / 1e6
    chip_pj = sum(n * table[name].pj for name, n in schedule.actions.items() if table[name].part != "dram")
    buffer = sum(bits for name, bits in schedule.actions.items() if name.startswith(("input_", "output_")))
    return Figures(
        power_mw=chip_pj / ms / 1e6 + static_mw(m),
        total_ms=pipeline_cycles(durations(schedule, m)) * m.ns_per_cycle / 1e6,
        processing_ms=ms,
        active_pes=active_pes(work, m, mapping),
        buffer_mb=buffer / 8 / MB,
        dram_mb=schedule.dram_bytes / MB,
    )


@cache
def chosen(name: str) -> PassMapping:
    """The mapping of a layer of AlexNet: its published m, n, e and p, and those q, r and t that fit and cost least."""
    work = works(ALEXNET)[name]
    given = ALEXNET.layers[name][1]
    m = machine()
    sets = m.lanes // (work.kernel[0] * given.e)
    tried = (
        replace(given, q=q, r=r, t=t)
        for q in range(1, PAD_WORDS // work.kernel[1] + 1)
        for r in range(1, sets + 1)
        for t in range(1, sets // r + 1)
    )
    return min(tried, key=lambda mapping: score_mapping(work, m, mapping))


def _row(what: str, pairs: dict[str, tuple[float, float]], remark: str = "") -> Row:
    """One row of the report, which names the worst layer.  pairs: (simulator, published) by layer."""
    worst = max(pairs, key=lambda layer: abs(pairs[layer][0] / pairs[layer][1] - 1))
    differs = errors(list(pairs.values()))[1] > 0
    note = f"worst: {worst}" if differs and len(pairs) > 1 else ""
    return compared(what, CHIP, list(pairs.values()), COMMAND, "; ".join(text for text in (note, remark) if text))


def used(network: Network) -> dict[str, PassMapping]:
    """The mapping of each layer that the comparison is made by: chosen for AlexNet, inferred for VGG-16."""
    return {name: chosen(name) if network is ALEXNET else mapping for name, (_, mapping) in network.layers.items()}


def rows() -> list[Row]:
    """AlexNet by the mapping of our objective, VGG-16 by the inferred one."""
    result = []
    for title, network in (("AlexNet", ALEXNET), ("VGG-16", VGG16)):
        mappings = used(network)
        ours = {name: simulate(work, mappings[name]) for name, work in works(network).items()}
        published = {name: figures for name, (figures, _) in network.layers.items()}

        def pairs(
            key: str, ours: dict[str, Figures] = ours, published: dict[str, Figures] = published
        ) -> dict[str, tuple[float, float]]:
            return {name: (getattr(ours[name], key), getattr(published[name], key)) for name in ours}

        power = {name: pair for name, pair in pairs("power_mw").items() if (network, name) != (ALEXNET, CALIBRATED)}
        inferred = "" if network is ALEXNET else "mapping inferred from its buffer bytes"
        result.append(_row(f"processing time of {title}'s layers", pairs("processing_ms"), inferred))
        clock = "116 mW of clock calibrated on AlexNet's conv1 alone"
        result.append(_row(f"power of the chip on {title}'s layers", power, clock))
        if network is ALEXNET:
            result.append(_row("active PEs", pairs("active_pes")))
            same = sum(mappings[name] == mapping for name, (_, mapping) in network.layers.items())
            rule = (
                "m, n, e, p as published, q, r, t by our energy objective, blind to these bytes: it chooses the "
                f"published ones in {same} of {len(mappings)} layers, in conv3 conv4's"
            )
            result.append(_row("global-buffer bytes", pairs("buffer_mb"), rule))
            result.append(_row("global-buffer bytes of conv3 by its mapping as published", *_as_published()))
            result.append(_row("DRAM bytes of AlexNet's layers", pairs("dram_mb")))
        else:
            total = sum(figures.dram_mb for figures in ours.values())
            result.append(_row("DRAM bytes of VGG-16", {"total": (total, network.total.dram_mb)}, inferred))
    return result


def published_sums_mb(name: str) -> float:
    """Partial sums alone that a layer of AlexNet writes and reads by its published mapping."""
    work = works(ALEXNET)[name]
    mapping = ALEXNET.layers[name][1]
    steps = -(-(work.in_channels // work.groups) // (mapping.q * mapping.r))
    return 2 * steps * work.outputs * machine().arithmetic.accumulator_bits / 8 / MB


def _as_published() -> tuple[dict[str, tuple[float, float]], str]:
    """CONV3 by all its published letters, and why that cannot be how it was measured."""
    published, mapping = ALEXNET.layers[CONV3]
    remark = f"its partial sums alone are {published_sums_mb(CONV3):.1f} MB, published {published.buffer_mb} MB in all"
    return {CONV3: (simulate(works(ALEXNET)[CONV3], mapping).buffer_mb, published.buffer_mb)}, remark
