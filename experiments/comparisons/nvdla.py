"""NVDLA: nvdla-full and nvdla-small beside the open performance sheet of nvdla/hw (NVDLA_OpenSource_Performance.xlsx).

The sheet is a formula, not silicon.  Its MAC cycles are public (nvdla/hw issue 51), and so is its total for AlexNet at
2048 multipliers, 512 KB, 10 GB/s, 1 GHz: 895,443.563 cycles (nvdla/hw issue 202), the 0.895 ms.  What the sheet takes
besides was found by trying readings until the total came out (``sheet_cycles``): 1 byte a word, images of 224 x 224
without padding in the first layer, two groups in conv2, 4 and 5, Winograd weights of 16/9 size, the last convolution
stored pooled, fully connected layers in batches of 16, 10 GB/s as 10.24 bytes a cycle, layer = max(MAC, DRAM).
"""

from dataclasses import replace
from math import ceil

import accelsim
from accelsim.simulator.machines.cells import CellsMachine
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, layer_works
from accelsim.workload.layer import Kind
from accelsim.workload.table import works_of_kind
from experiments.comparisons.row import Row, compared

PUBLISHED_CYCLES = 895_443.563
PUBLISHED_MS = 0.895
FC_BATCH = 16
BYTES_PER_CYCLE = 10.24
COMMAND = "pytest tests/silicon/test_nvdla.py"
SHEET = "NVDLA's open performance sheet"
UNALIGNED = ("features.24", "features.26", "features.28")  # VGG-16 at 14 x 14

# name, C, H = W, K, R = S, stride, zero padded, groups, outputs stored
CONVOLUTIONS = (
    ("conv1", 3, 224, 96, 11, 4, False, 1, 54 * 54),
    ("conv2", 96, 27, 256, 5, 1, True, 2, 27 * 27),
    ("conv3", 256, 13, 384, 3, 1, True, 1, 13 * 13),
    ("conv4", 384, 13, 384, 3, 1, True, 2, 13 * 13),
    ("conv5", 384, 13, 256, 3, 1, True, 2, 6 * 6),
)
LINEAR = ((9216, 4096), (4096, 4096), (4096, 1000))

# 256 multipliers: 4 x 4 taps x 2 channels x 8 filters.
MACHINES = (
    ("nvdla-full", ("dram.bandwidth_gbs=20.48",), 269.0),
    (
        "nvdla-full",
        ("pe_array.cols=8", "cells.channels=2", "buffers.weight_kb=128", "buffers.input_kb=128")
        + ("dram.bandwidth_gbs=5.12", "vector_lanes=8"),
        46.0,
    ),
    ("nvdla-small", (), 7.3),
)


def _atoms(channels: int) -> int:
    """Channels or filters in whole atoms of 16."""
    return 16 * ceil(channels / 16)


def sheet_cycles(macs: int = 2048) -> float:
    """AlexNet's cycles by the sheet's formula as read here."""
    total = 0.0
    for _, C, H, K, R, s, padded, groups, stored in CONVOLUTIONS:
        winograd = R == 3
        outputs = ceil((H if padded else H - R + 1) / s) ** 2
        mac = _atoms(C // groups * s * s) * outputs * _atoms(K) * R * R / s / s / macs / (2.25 if winograd else 1)
        weights = K * C // groups * R * R * (16 / 9 if winograd else 1)
        total += max(mac, (weights + C * H * H + K * stored) / BYTES_PER_CYCLE)
    for C, K in LINEAR:
        mac = _atoms(C) * _atoms(K * FC_BATCH) / macs / FC_BATCH
        total += max(mac, (C * K / FC_BATCH + C + K) / BYTES_PER_CYCLE)
    return total


def alexnet_ms() -> float:
    """AlexNet simulated as the sheet has it: convolutions of one image, fully connected layers of 16, images of 224."""
    table = _table("alexnet")
    layers = (replace(table.layers[0], height=224, width=224), *table.layers[1:])
    table = replace(table, layers=layers)
    machine = accelsim.load_hardware("nvdla-full")
    cycles = 0.0
    runs: tuple[tuple[Kind, int], ...] = (("conv", 1), ("linear", FC_BATCH))
    for kind, batch in runs:
        works = works_of_kind(table, kind, batch)
        cycles += int(run(works, machine, engine="fast").total["cycles"]) / batch
    return cycles * machine.ns_per_cycle / 1e6


def winograd_gains() -> dict[str, float]:
    """Cycles of the lanes, directly over Winograd, of VGG-16's 3 x 3 layers but the first."""
    works = works_of_kind(_table("vgg16"), "conv")[1:]
    cycles = []
    for overrides in ((), ("cells.kernel=null",)):
        machine = accelsim.load_hardware("nvdla-full", overrides)
        cycles.append(run(works, machine, engine="fast").layers["compute_cycles"])
    return {work.name: direct / winograd for work, winograd, direct in zip(works, *cycles, strict=True)}


def resnet50_fps() -> list[tuple[float, float]]:
    """Images a second of ResNet-50, (simulated, published), at the three sizes of the sheet's summary."""
    works = layer_works(_table("resnet50"))
    result = []
    for name, overrides, fps in MACHINES:
        total = run(works, accelsim.load_hardware(name, overrides), engine="fast").total
        result.append((1000 / float(total["latency_ms"]), fps))
    return result


def small_fps_by_formula(overlap: bool) -> float:
    """ResNet-50 on nvdla-small (64 multipliers, 128 KB, 1 byte a cycle, 1 GHz) by the sheet's kind of formula.

    DRAM: outputs and the smaller of "keep weights" and "keep inputs", in halves of the buffer.  overlap: of transfers
    with the multipliers; a layer takes the longer of both, else their sum.
    """
    macs = 64
    half = 512 * 128
    total = 0.0
    for work in layer_works(_table("resnet50")):
        if work.weights is None:
            continue
        channels, filters = (8 * ceil(n / 8) for n in (work.in_channels, work.out_channels))
        compute = channels * filters * work.kernel[0] * work.kernel[1] * work.out_height * work.out_width / macs
        inputs = work.in_channels * work.height * work.width
        weights = work.weights.size
        least = min(weights + inputs * ceil(weights / half), inputs + weights * ceil(inputs / half))
        transfer = work.outputs + least
        total += max(compute, transfer) if overlap else compute + transfer
    return 1e9 / total


def _table(name: str) -> LayerTable:
    table = accelsim.load_workload(name)
    assert isinstance(table, LayerTable)
    return table


def rows() -> list[Row]:
    """The sheet's formula as read, AlexNet, the Winograd mode's gain, ResNet-50."""
    assert isinstance(accelsim.load_hardware("nvdla-full"), CellsMachine)
    gains = winograd_gains()
    aligned = [(gain, 2.25) for name, gain in gains.items() if name not in UNALIGNED]
    pairs = resnet50_fps()
    fps = ", ".join(f"{ours:.3g} for {theirs:g}" for ours, theirs in pairs)
    unaligned = min(gains.values())
    return [
        compared(
            "the sheet's AlexNet cycles by its formula as read",
            SHEET,
            [(sheet_cycles(), PUBLISHED_CYCLES)],
            COMMAND,
            "word size, batch and bytes a cycle chosen by this very figure",
        ),
        compared(
            "AlexNet, time",
            SHEET,
            [(alexnet_ms(), PUBLISHED_MS)],
            COMMAND,
            "the simulator rounds folds up and fills its pipeline; fully connected layers in batches of 16",
        ),
        compared(
            "gain of the Winograd mode, lanes",
            "2.25, NVDLA primer",
            aligned,
            COMMAND,
            f"VGG-16 at sizes that 4 divides; {unaligned:.2f} at 14 x 14, where outputs are padded to 16 x 16",
        ),
        compared(
            "ResNet-50, images a second, three sizes",
            SHEET,
            pairs,
            COMMAND,
            f"{fps}; by the sheet's kind of formula the smallest gives {small_fps_by_formula(True):.3g}, but "
            f"{small_fps_by_formula(False):.3g} if its transfers never overlap its multipliers, which ours do",
        ),
    ]
