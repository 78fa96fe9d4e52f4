"""reports/datapath.md: what the whole numbers of each machine cost, for many widths and ways to scale.

    python -m experiments.datapath [--images N] [--model NAME]

Scales are found on the first 256 training images, accuracy is measured on the test images.  Each figure is kept in
reports/datapath.json as soon as it is there; figures that are there on as many images are not measured again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import accelsim
from accelsim.arrays import Flags
from accelsim.datapath.batches import in_batches
from accelsim.datapath.calibrate import IMAGES as CALIBRATION_IMAGES
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.floating import machine_tiles, winograd_part
from accelsim.datapath.plan import build
from accelsim.datapath.runs import integer_outputs
from accelsim.dual.model import DualModel
from accelsim.files import atomic_write
from accelsim.hardware.datapath import Datapath
from accelsim.network import forward
from accelsim.training.datasets import Source, load_split
from accelsim.training.recipe import Data
from experiments.paths import MODELS, REPORTS

STORED = REPORTS / "datapath.json"
REPORT = REPORTS / "datapath.md"
DATA = {"cifar10": Data(kind="cifar10", path="cifar10"), "imagenet": Data(kind="archives", path="imagenet")}
SCHEMES = {
    "multiply, filter": ["scales=multiply_shift", "weight_scales=channel"],
    "shift, filter": ["scales=power_of_two", "weight_scales=channel"],
    "multiply, layer": ["scales=multiply_shift", "weight_scales=tensor"],
    "shift, layer": ["scales=power_of_two", "weight_scales=tensor"],
}
FIRST = "multiply, filter"
COLUMNS = (
    *("domain", "taps", "V bits", "scheme", "ranges", "images", "top-1, %", "loss, points"),
    *("largest sum, bits", "overflows"),
)


@dataclass(frozen=True)
class Case:
    """One arithmetic: a tile size (0: spatial), a scheme of SCHEMES, scales of taps, bits of transformed inputs."""

    tile: int
    scheme: str
    calibration: str
    taps: str  # one, per_tap; empty in the spatial domain
    bits: int  # of transformed inputs, 0 in the spatial domain

    @property
    def name(self) -> str:
        """The key of its figures."""
        where = "spatial" if not self.tile else f"F({self.tile}, 3) | {self.taps} | {self.bits}"
        return f"{where} | {self.scheme} | {self.calibration}"

    @property
    def datapath(self) -> Datapath:
        """The 16 x 16 machine of the domain with these words."""
        keys = [f"arithmetic.{key}" for key in (*SCHEMES[self.scheme], f"calibration={self.calibration}")]
        if not self.tile:
            return accelsim.load_hardware("spatial-16x16", keys).datapath
        keys += [f"tile={self.tile}", f"arithmetic.tap_scales={self.taps}", f"arithmetic.transformed_bits={self.bits}"]
        return accelsim.load_hardware("winograd-16x16", keys).datapath


def cases() -> list[Case]:
    """All that are compared: first the machines as they ship and with mere shifts, then one thing at a time."""
    domains = [(0, "", 0), (2, "per_tap", 10), (4, "per_tap", 10)]
    found = [Case(m, scheme, "least_error", taps, bits) for scheme in SCHEMES for m, taps, bits in domains]
    found += [Case(4, FIRST, "least_error", taps, bits) for bits in (15, 8, 10, 12) for taps in ("per_tap", "one")]
    found += [Case(6, FIRST, "least_error", taps, bits) for bits in (10, 12, 16, 20) for taps in ("per_tap", "one")]
    found += [Case(m, FIRST, how, taps, bits) for how in ("max", "percentile") for m, taps, bits in domains]
    found += [Case(2, FIRST, "least_error", taps, 8) for taps in ("one", "per_tap")]
    return list(dict.fromkeys(found))


def float_right(model: DualModel, datapath: Datapath, images: Source) -> Flags:
    """Which test images the decoded network answers right in float32, in the machine's domain: (N,)."""
    convolution = winograd_part(model, datapath) if machine_tiles(model, datapath) else None
    pixels = images.take(np.arange(len(images)))
    run = partial(forward, model.network, convolution=convolution)
    parts = in_batches(model.network.graph, pixels, lambda x: run(x).argmax(axis=1))
    return np.asarray(np.concatenate(parts) == images.labels)


def measure(model: DualModel, case: Case, train: Source, test: Source, exact: Flags) -> dict[str, Any]:
    """Top-1 of whole numbers, what they lose against float32 on the same images, and what did not fit."""
    datapath = case.datapath
    found = calibrate(model, datapath, train.take(np.arange(CALIBRATION_IMAGES)))
    program = build(model, datapath, found)
    y, totals = integer_outputs(program, model.network, test.take(np.arange(len(test))))
    lost = exact.astype(np.float64) - (y.argmax(axis=1) == test.labels)
    return {
        "images": len(test),
        "top1": 100 * float((y.argmax(axis=1) == test.labels).mean()),
        "loss": 100 * float(lost.mean()),
        "error": 100 * float(lost.std() / np.sqrt(len(lost))),
        "largest_sum": max(count.largest_sum for count in totals),
        "overflowed": sum(count.overflowed for count in totals),
    }


def page(stored: dict[str, Any]) -> str:
    """The report."""
    lines = [
        "# What whole numbers cost",
        "",
        "Top-1 of the decoded network in the whole numbers of a machine (8-bit weights and activations, 24-bit",
        "sums), and its loss against float32 in the same domain, on the same test images, with one standard error.",
        "Scales from 256 training images. Written by `python -m experiments.datapath`, figures in `datapath.json`.",
        "",
        "scheme: outputs are shifted, or multiplied and shifted; one scale for a layer's weights, or one a filter.",
        "taps: one scale for all Winograd taps, or one each. V bits: of a transformed input (exact: 10 in F(2, 3), 15",
        "in F(4, 3), 20 in F(6, 3)). Sums beyond 24 bits wrap around.",
    ]
    for name, rows in stored.items():
        lines += ["", f"## {name}", ""]
        known = rows["float"]
        lines += [f"Float32, spatial: {known['spatial']:.2f} % on {known['images']:,} test images.", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        for case in cases():
            row = rows["cases"].get(case.name)
            if row is None:
                continue
            domain = f"F({case.tile}, 3)" if case.tile else "spatial"
            taps = case.taps.replace("_", " ") or "-"
            cells = [domain, taps, str(case.bits or "-"), case.scheme, case.calibration.replace("_", " ")]
            cells += [f"{row['images']:,}", f"{row['top1']:.2f}", f"{row['loss']:.2f} +- {row['error']:.2f}"]
            cells += [str(1 + int(row["largest_sum"]).bit_length()), f"{row['overflowed']:,}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20-cifar10")
    parser.add_argument("--images", type=int, help="only the first N test images; default: all")
    options = parser.parse_args(arguments)
    model = accelsim.load_model(MODELS / f"{options.model}.dual")
    graph = model.network.graph
    data = DATA["cifar10" if graph.input_shape[0] == 32 else "imagenet"]
    classes = graph.shapes[graph.nodes[-1].name][-1]
    train, test = (load_split(data, split, graph.input_shape[:2], classes) for split in ("train", "test"))
    if options.images is not None:
        test = test.first(options.images)
    stored: dict[str, Any] = json.loads(STORED.read_text()) if STORED.exists() else {}
    exact = {0: float_right(model, Case(0, FIRST, "max", "", 0).datapath, test)}
    rows = stored.setdefault(options.model, {"cases": {}})
    rows["float"] = {"images": len(test), "spatial": 100 * float(exact[0].mean())}
    for case in cases():
        if rows["cases"].get(case.name, {}).get("images") == len(test):
            continue
        if case.tile not in exact:
            exact[case.tile] = float_right(model, case.datapath, test)
        rows["cases"][case.name] = measure(model, case, train, test, exact[case.tile])
        _write(STORED, json.dumps(stored, indent=1) + "\n")
        _write(REPORT, page(stored))


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
