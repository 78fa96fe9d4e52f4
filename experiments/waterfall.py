"""What each choice of architecture brings: the first pair of machines, changed step by step into the best pair.

    python -m experiments.waterfall                      # all networks, or
    python -m experiments.waterfall resnet20 squeezenet

writes reports/waterfall.json (kept network by network), reports/waterfall.md and reports/waterfall.png.  Networks: the
shipped models with the zeros that they were trained to have; and tables of layers, dense and with 80 % zeros drawn from
a seed.  Dense runs are on the same machines without skipping (``zero_handling: none``), with windows of one bank.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.files import write_text
from accelsim.network.table_layer import TableLayer
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork, layer_works, load_table
from experiments.paths import MODELS, REPORTS, WORKLOADS

STORED = REPORTS / "waterfall.json"
PAGE = REPORTS / "waterfall.md"
PLOT = REPORTS / "waterfall.png"
SPARSE = 0.2  # share of weights kept
ON_CHIP = ("mac", "transform", "register", "sram", "static")
# CT-SRCNN-9 at a quarter of 1920 x 1080 in each direction.
CT_SRCNN = ((1, 64, 9), (64, 32, 5), *((32, 32, 3),) * 6, (32, 1, 5))


FIRST = {"spatial": "spatial-16x16", "winograd": "winograd-16x16"}
HEAD = """# What each choice of architecture brings

Written by `python -m experiments.waterfall`. 256 lanes, 192 KB, LPDDR4-3200, 800 MHz on both sides; each row adds its
choice to those above, on either machine, rows beside it alone; tilings by energy x delay; logic priced in gates. Below
1 the Winograd machine takes less. In the first row feature maps go through DRAM after every layer (`--level layers`),
then they stay on the chip where they fit, and additions and poolings ride along (`--level resident`).
"""


@dataclass(frozen=True)
class Step:
    """One choice: what it is called, the keys that it changes of each kind, and the level that networks run at."""

    name: str
    spatial: tuple[str, ...] = ()
    winograd: tuple[str, ...] = ()
    beside: bool = False  # whether the next step starts from before this one
    level: str = "resident"


STEPS = (
    Step("first pair", level="layers"),
    Step("feature maps stay on the chip"),
    Step("filters transformed on chip", winograd=("weight_transform=on_chip",)),
    Step(
        "results transformed in the lanes",
        winograd=("inverse=lane", "buffers.input_kb=56", "buffers.output_kb=32"),
    ),
    Step(
        "operand windows paid for",
        spatial=("operand_window={positions: 144, banks: 16}",),
        winograd=("operand_window={positions: 32, banks: 8}",),
    ),
    Step(
        "several sums a lane",
        spatial=("filters_per_lane=4",),
        winograd=("filters_per_lane=2",),
    ),
    Step(
        "array, buffers, rates and balance of the best pair",
        spatial=(
            "pe_array={rows: 64, cols: 4}", "buffers.weight_kb=96", "buffers.output_kb=32", "balance=greedy",
        ),
        winograd=("transform_rate=16", "balance=greedy"),
    ),
    Step("beside it: tile sizes 2 and 4", winograd=("tiles=[2, 4]", "transform_rate=8"), beside=True),
    Step(
        "beside it: inputs transformed on the way to the lanes",
        winograd=(
            "input_transform=streamed", "buffers.input_kb=96", "buffers.transformed_kb=0",
            "pe_array={taps: 16, rows: 4, cols: 4}", "filters_per_lane=4", "outputs_per_lane=1",
        ),
        beside=True,
    ),
)  # fmt: skip
NETWORKS = ("resnet20", "squeezenet", "resnet18", "vgg16", "ct-srcnn")
SHIPPED = {"resnet20": "resnet20-cifar10.dual", "squeezenet": "squeezenet11-imagenet.dual"}


def cases(network: str) -> dict[str, Sequence[LayerWork]]:
    """The layers of a network by what their weights are: as trained, dense, with 80 % zeros."""
    found: dict[str, Sequence[LayerWork]] = {}
    if network in SHIPPED:
        found["as trained"] = layer_works(read_dual(MODELS / SHIPPED[network]))
        rows = [_row(work) for work in found["as trained"]]
    elif network == "ct-srcnn":
        rows = [
            TableLayer(f"conv{i}", "conv", C, K, 270, 480, (r, r), padding=r // 2)
            for i, (C, K, r) in enumerate(CT_SRCNN, start=1)
        ]
    else:
        rows = list(load_table(WORKLOADS / f"{network}.csv").layers)
    for name, density in (("dense", 1.0), ("80 % zeros", SPARSE)):
        layers = tuple(replace(row, weight_density=density) for row in rows)
        found[name] = tuple(layer_works(LayerTable(network, layers)))
    return found


def _row(work: LayerWork) -> TableLayer:
    """A layer's shape as the row of a table."""
    return TableLayer(
        name=work.name,
        kind=work.kind,
        in_channels=work.in_channels,
        out_channels=work.out_channels,
        height=work.height,
        width=work.width,
        kernel=work.kernel,
        stride=work.stride[0],
        padding=work.padding[0],
        groups=work.groups,
    )


def measure(works: Sequence[LayerWork], dense: bool) -> list[dict[str, Any]]:
    """Figures of both kinds after each step; None where a layer fits no buffer."""
    rows = []
    kept: dict[str, tuple[str, ...]] = {"spatial": (), "winograd": ()}
    for step in STEPS:
        changes = {"spatial": kept["spatial"] + step.spatial, "winograd": kept["winograd"] + step.winograd}
        kept = kept if step.beside else changes
        row: dict[str, Any] = {"step": step.name}
        for kind, own in changes.items():
            machine = load_hardware(FIRST[kind], ["objective=edp", *own, *(_dense(own) if dense else [])])
            try:
                total = run(works, machine, engine="fast", level=step.level).total
            except InputError:
                row[kind] = None
                continue
            row[kind] = {
                "cycles": int(total["cycles"]),
                "energy_pj": float(total["energy_pj"]),
                "on_chip_pj": sum(float(total[f"energy_{part}_pj"]) for part in ON_CHIP),
                "area_mm2": float(total["area_mm2"]),
            }
        rows.append(row)
    return rows


def _dense(changes: Sequence[str]) -> list[str]:
    """The same machine without skipping: columns in step need one bank, and its weights no index."""
    one_bank = ["operand_window.banks=1"] if any(change.startswith("operand_window") for change in changes) else []
    return ["zero_handling=none", "weight_format=dense", *one_bank]


def page(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """The report: ratios of the Winograd machine over the spatial one after each step."""
    lines = [HEAD]
    for title, key in (("On-chip energy", "on_chip_pj"), ("Energy with DRAM", "energy_pj"), ("Cycles", "cycles")):
        named = [(network, case) for network in NETWORKS for case in found.get(network, {})]
        lines += [
            f"## {title}, Winograd / spatial",
            "",
            "| after | " + " | ".join(f"{n}, {c}" for n, c in named) + " |",
        ]
        lines.append("|---|" + "---|" * len(named))
        for i, step in enumerate(STEPS):
            ratios = [_ratio(found[n][c][i], key) for n, c in named]
            cells = ("does not fit" if isnan(ratio) else f"{ratio:.2f}" for ratio in ratios)
            lines.append(f"| {step.name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, *_keys()])


def _ratio(row: dict[str, Any], key: str) -> float:
    """Winograd over spatial; not a number where either has a layer that fits no buffer."""
    spatial, winograd = row["spatial"], row["winograd"]
    return float("nan") if spatial is None or winograd is None else float(winograd[key] / spatial[key])


def _keys() -> list[str]:
    """What each step changes."""
    lines = ["## The steps", "", "| step | spatial | Winograd |", "|---|---|---|"]
    for step in STEPS:
        spatial, winograd = ("<br>".join(f"`{key}`" for key in keys) or "-" for keys in (step.spatial, step.winograd))
        lines.append(f"| {step.name} | {spatial} | {winograd} |")
    return [*lines, ""]


def plot(found: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Ratios of on-chip energy step by step, a line a network; a panel for dense and for sparse weights."""
    panels = ("dense", "80 % zeros")
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    for axis, case in zip(axes, panels, strict=True):
        for network in (name for name in NETWORKS if case in found.get(name, {})):
            rows = found[network][case]
            ratios = [_ratio(row, "on_chip_pj") for row in rows]
            axis.step(range(len(ratios)), ratios, where="mid", marker="o", label=network)
        axis.axhline(1, color="#444444", linestyle="--", linewidth=0.8)
        axis.set_xticks(range(len(STEPS)), [step.name for step in STEPS], rotation=30, ha="right")
        axis.set_title(case)
        axis.grid(axis="y", alpha=0.4)
    axes[0].set_ylabel("on-chip energy, Winograd / spatial")
    axes[0].legend()
    figure.savefig(PLOT, dpi=130, metadata={"Software": None})


def stored() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What was measured of the steps of today, by network and case."""
    found = json.loads(STORED.read_text()) if STORED.exists() else {}
    steps = [step.name for step in STEPS]
    return {
        network: measured
        for network, measured in found.items()
        if all([row["step"] for row in rows] == steps for rows in measured.values())
    }


def main() -> None:
    """Measure the networks that are asked for, and write page and plot of all that is stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; default: all")
    parser.add_argument("--page", action="store_true", help="measure nothing, write page and plot of what is stored")
    arguments = parser.parse_args()
    if unknown := set(arguments.networks) - set(NETWORKS):
        parser.error(f"{sorted(unknown)[0]!r}, expected some of {', '.join(NETWORKS)}")
    found = stored()
    if arguments.page:
        write_text(PAGE, page(found))
        plot(found)
        return
    for network in arguments.networks or NETWORKS:
        measured = {case: measure(works, case == "dense") for case, works in cases(network).items()}
        found[network] = measured
        write_text(STORED, json.dumps(found, indent=1) + "\n")
        write_text(PAGE, page(found))
        plot(found)


if __name__ == "__main__":
    main()
