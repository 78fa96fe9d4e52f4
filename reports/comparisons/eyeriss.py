"""Eyeriss' silicon, on AlexNet and VGG-16, beside hwconfigs/eyeriss.yaml: Chen et al., IEEE JSSC 52(1), 2017.

Published: processing time (DRAM overlapped), active PEs, global-buffer and DRAM bytes, power of the chip, layer by
layer; AlexNet's mapping.  VGG-16's mapping is not published: the channels of a pass follow from its buffer bytes (each
pass reads and writes its partial sums once), the sets from the active PEs, the rest from what fits; so its buffer bytes
and PEs are no evidence, its times and powers are.  The tables of the paper are images; ours follow a transcription
(github.com/cucapra/fodlam), corrected where columns did not add up to their totals; VGG-16's DRAM column does not, so
only its total is compared.  MB: 2^20 bytes; with 10^6 the partial sums alone would exceed VGG-16's buffer bytes.
"""

from dataclasses import dataclass, replace
from math import inf

import accelsim
from accelsim.hardware.energy import prices, static_mw
from accelsim.hardware.machine import SpatialMachine
from accelsim.simulator.pipeline import durations, fast
from accelsim.simulator.row_mapping import choose_mapping, score_mapping
from accelsim.simulator.row_stationary import Mapping, active_pes, schedule_passes
from accelsim.workload import LayerWork, layer_works
from reports.comparisons.row import ROOT, Row, errors

CHIP, COMMAND = "Eyeriss, silicon", "python reports/eyeriss.py"
MB = 2**20


@dataclass(frozen=True)
class Figures:
    """One layer, the whole batch: published or simulated."""

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
    layers: dict[str, tuple[Figures, Mapping]]
    total: Figures


_SAME = Mapping(64, 4, 13, 13, 16, 3, 2, 2)
ALEXNET = Network(
    "alexnet-eyeriss",
    4,
    {
        "conv1": (Figures(332, 20.9, 16.5, 154, 18.5, 5.0), Mapping(96, 1, 7, 55, 16, 1, 1, 2)),
        "conv2": (Figures(288, 41.9, 39.2, 135, 77.6, 4.0), Mapping(64, 1, 27, 27, 16, 2, 1, 1)),
        "conv3": (Figures(266, 23.6, 21.8, 156, 50.2, 3.0), Mapping(64, 4, 13, 13, 16, 4, 1, 4)),
        "conv4": (Figures(235, 18.4, 16.0, 156, 37.4, 2.1), _SAME),
        "conv5": (Figures(236, 10.5, 10.0, 156, 24.9, 1.3), _SAME),
    },
    Figures(278, 115.3, 103.5, 148, 208.5, 15.4),
)
PAD_WORDS = 12  # of inputs, a PE
CONV3_AS_CONV4 = _SAME  # the mapping whose traffic is CONV3's published one

_WIDE, _MIDDLE = Mapping(64, 1, 13, 56, 16, 1, 1, 4), Mapping(64, 1, 13, 56, 16, 2, 1, 4)
_SMALL, _LAST = Mapping(32, 3, 14, 28, 16, 2, 2, 2), Mapping(64, 3, 14, 14, 16, 4, 2, 2)
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


def machine() -> SpatialMachine:
    """The shipped description."""
    found = accelsim.load_hardware(ROOT / "hwconfigs" / "eyeriss.yaml")
    assert isinstance(found, SpatialMachine)
    return found


def works(network: Network) -> dict[str, LayerWork]:
    """Its convolutions, in order, by name."""
    model = accelsim.load_workload(ROOT / "workloads" / f"{network.table}.csv")
    found = layer_works(model, network.batch)
    return dict(zip(network.layers, found, strict=True))


def simulate(work: LayerWork, mapping: Mapping | None = None) -> Figures:
    """The layer by a given mapping, or by the one that the simulator's search finds.  Power: without the DRAM."""
    m = machine()
    mapping = mapping or choose_mapping(work, m)[0]
    plan, table = schedule_passes(work, m, mapping), prices(m)
    ms = int(plan.compute_cycles.sum()) * m.ns_per_cycle / 1e6
    chip_pj = sum(n * table[name].pj for name, n in plan.actions.items() if table[name].part != "dram")
    buffer = sum(bits for name, bits in plan.actions.items() if name.startswith(("input_", "output_")))
    return Figures(
        power_mw=chip_pj / ms / 1e6 + static_mw(m),
        total_ms=fast(durations(plan, m)) * m.ns_per_cycle / 1e6,
        processing_ms=ms,
        active_pes=active_pes(work, m, mapping),
        buffer_mb=buffer / 8 / MB,
        dram_mb=plan.dram_bytes / MB,
    )


def conv3_mappings() -> dict[Mapping, Figures]:
    """All mappings of AlexNet's conv3 that fit, with its published m, n, e and p: any q, r and t."""
    work, given = works(ALEXNET)["conv3"], ALEXNET.layers["conv3"][1]
    sets = machine().lanes // (work.kernel[0] * given.e)
    tried = (
        replace(given, q=q, r=r, t=t)
        for q in range(1, PAD_WORDS // work.kernel[1] + 1)
        for r in range(1, sets + 1)
        for t in range(1, sets // r + 1)
    )
    return {mapping: simulate(work, mapping) for mapping in tried if score_mapping(work, machine(), mapping) < inf}


def meets(ours: Figures, published: Figures) -> bool:
    """All bars at once: time 10 %, active PEs, buffer and DRAM bytes 15 %, power 25 %."""
    bars = {"processing_ms": 0.10, "active_pes": 0, "buffer_mb": 0.15, "dram_mb": 0.15, "power_mw": 0.25}
    return all(abs(_off(getattr(ours, key), getattr(published, key))) <= 100 * bar for key, bar in bars.items())


def _row(what: str, pairs: dict[str, tuple[float, float]], remark: str = "") -> Row:
    """One row; pairs: (simulator, published) by layer."""
    mean, worst = errors(list(pairs.values()))
    name = max(pairs, key=lambda layer: abs(pairs[layer][0] / pairs[layer][1] - 1))
    note = f"worst: {name}" if worst and len(pairs) > 1 else ""
    return Row(what, CHIP, len(pairs), mean, worst, COMMAND, "; ".join(text for text in (note, remark) if text))


def rows() -> list[Row]:
    """AlexNet by its published mapping, VGG-16 by the inferred one."""
    result = []
    for title, network in (("AlexNet", ALEXNET), ("VGG-16", VGG16)):
        ours = {name: simulate(work, network.layers[name][1]) for name, work in works(network).items()}
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
            buffers = pairs("buffer_mb")
            conv3 = buffers.pop("conv3")
            result.append(_row("global-buffer bytes, all but conv3", buffers))
            tried = conv3_mappings()
            meeting = [mapping for mapping, figures in tried.items() if meets(figures, published["conv3"])]
            remark = (
                f"by the published mapping, whose partial sums alone exceed the published bytes; of the {len(tried)} "
                f"mappings with its m, n, e, p that fit, {len(meeting)} meets every figure of conv3: conv4's, with "
                f"{_off(tried[CONV3_AS_CONV4].buffer_mb, conv3[1]):+.1f} % of bytes"
            )
            assert meeting == [CONV3_AS_CONV4]
            result.append(_row("global-buffer bytes, conv3", {"conv3": conv3}, remark))
            result.append(_row("DRAM bytes of AlexNet's layers", pairs("dram_mb")))
        else:
            total = sum(figures.dram_mb for figures in ours.values())
            result.append(_row("DRAM bytes of VGG-16", {"total": (total, network.total.dram_mb)}, inferred))
    return result


def _off(ours: float, published: float) -> float:
    """Percent."""
    return 100 * (ours / published - 1)
