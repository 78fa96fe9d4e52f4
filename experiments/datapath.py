"""reports/datapath.md: what the whole numbers of each machine cost, for many widths and ways to scale.

    python -m experiments.datapath [--model NAME|FILE.dual] [--images N] [--cases N] [--case KEY]

Networks: ``experiments.datapath_networks``.  Scales are found on training images, accuracy is measured on the
test images.  Each figure is kept in reports/datapath.json as soon as it is there; figures that are there on as
many images or more are not measured again.  ``--cases 0`` only writes the page again.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import accelsim
from accelsim.arrays import Floats
from accelsim.datapath.batches import in_batches
from accelsim.datapath.calibrate import Ranges, measure_ranges, scales_of
from accelsim.datapath.floating import machine_tiles, winograd_part
from accelsim.datapath.pictures import TOLERANCE_DB
from accelsim.datapath.program import build
from accelsim.datapath.runs import integer_outputs
from accelsim.datapath.validate import INTEGER_TOLERANCE_POINTS
from accelsim.files import atomic_write
from accelsim.hardware.datapath import Datapath
from accelsim.network import forward
from experiments.datapath_networks import Problem, known, problem
from experiments.paths import REPORTS

STORED = REPORTS / "datapath.json"
REPORT = REPORTS / "datapath.md"
SCHEMES = {
    "multiply, filter": ["scales=multiply_shift", "weight_scales=channel"],
    "shift, filter": ["scales=power_of_two", "weight_scales=channel"],
    "multiply, layer": ["scales=multiply_shift", "weight_scales=tensor"],
    "shift, layer": ["scales=power_of_two", "weight_scales=tensor"],
}
FIRST = "multiply, filter"
POINTS = {"": "", "1/2, -2": "points.4=[0, 1, -1, 1/2, -2]"}
WIDE_SUMS = 32  # bits, of words of more than 8
DOMAINS = {0: "spatial", 2: "F(2, 3)", 4: "F(4, 3)", 6: "F(6, 3)"}
TOLERANCES = {"top-1, %": INTEGER_TOLERANCE_POINTS, "PSNR, dB": TOLERANCE_DB}  # of ``accelsim validate``
COLUMNS = (
    *("words", "domain", "points", "taps", "V bits", "scheme", "ranges", "images", "float32", "result", "loss"),
    *("largest sum, bits", "overflows"),
)


@dataclass(frozen=True)
class Case:
    """One arithmetic: a tile size (0: spatial), a scheme of SCHEMES, scales of taps, bits of transformed inputs."""

    tile: int
    taps: str = ""  # one, per_tap; empty in the spatial domain
    bits: int = 0  # of transformed inputs, 0 in the spatial domain
    scheme: str = FIRST
    calibration: str = "least_error"
    points: str = ""  # of POINTS, behind 0, 1, -1; empty: the default ones
    words: int = 8  # bits of weights and activations

    @property
    def name(self) -> str:
        """The key of its figures."""
        where = DOMAINS[self.tile] + (f" | {self.taps} | {self.bits}" if self.tile else "")
        words = f"{self.words}-bit words" if self.words != 8 else ""
        return " | ".join(part for part in (where, self.scheme, self.calibration, self.points, words) if part)

    @property
    def datapath(self) -> Datapath:
        """The 16 x 16 machine of the domain with these words."""
        keys = [f"arithmetic.{key}" for key in (*SCHEMES[self.scheme], f"calibration={self.calibration}")]
        if self.words != 8:
            words = {"weight": self.words, "activation": self.words, "accumulator": WIDE_SUMS}
            keys += [f"arithmetic.{word}_bits={bits}" for word, bits in words.items()]
        if not self.tile:
            return accelsim.load_hardware("spatial-16x16", keys).datapath
        keys += [f"tile={self.tile}", "largest_kernel=3", f"arithmetic.tap_scales={self.taps}"]
        keys += [f"arithmetic.transformed_bits={self.bits}"]
        keys += [POINTS[self.points]] if self.points else []
        return accelsim.load_hardware("winograd-16x16", keys).datapath


def cases() -> list[Case]:
    """All that are compared: first each domain as machines ship, then one thing at a time."""
    domains = [(0, "", 0), (2, "per_tap", 10), (4, "per_tap", 10)]
    found = [Case(*domain) for domain in [*domains, (6, "per_tap", 12), (4, "one", 10)]]
    found += [Case(4, "per_tap", bits, points="1/2, -2") for bits in (10, 16)]
    found += [Case(4, "per_tap", 15), Case(6, "per_tap", 20), Case(2, "per_tap", 8), Case(4, "per_tap", 8)]
    found += [Case(*domain, scheme=scheme) for scheme in SCHEMES for domain in domains]
    found += [Case(m, "per_tap", bits) for m, bits in ((4, 12), (6, 10), (6, 16))]
    found += [Case(m, "one", bits) for m, bits in ((2, 8), (2, 10), (4, 12), (4, 15), (6, 12), (6, 16), (6, 20))]
    found += [Case(*domain, calibration=how) for how in ("max", "percentile") for domain in domains]
    for words in (10, 12):
        wider = [(0, "", 0), (2, "per_tap", words + 2), (4, "per_tap", words + 2), (6, "per_tap", words + 4)]
        found += [Case(*domain, words=words) for domain in wider]
    return list(dict.fromkeys(found))


def float_scores(given: Problem, datapath: Datapath) -> Floats:
    """What the decoded network is worth in float32, in the machine's domain, picture by picture: (N,)."""
    model = given.model
    convolution = winograd_part(model, datapath) if machine_tiles(model, datapath) else None
    parts = in_batches(model.network.graph, given.pixels, partial(forward, model.network, convolution=convolution))
    return given.score(np.concatenate(parts))


def ranges(given: Problem, case: Case) -> Ranges:
    """What the scales of a case are found from: of float32, whatever the words and the way to scale."""
    detailed = replace(case, calibration="least_error").datapath
    return measure_ranges(given.model, detailed, given.training, taps=case.tile > 0)


def measure(given: Problem, case: Case, found: Ranges, exact: Floats) -> dict[str, Any]:
    """What whole numbers are worth, what they lose against float32 on the same images, and what did not fit."""
    datapath = case.datapath
    program = build(given.model, datapath, scales_of(given.model, datapath, found, given.training))
    y, totals = integer_outputs(program, given.model.network, given.pixels)
    scores = given.score(y)
    lost = exact - scores
    return {
        "images": len(scores),
        "result": float(scores.mean()),
        "loss": float(lost.mean()),
        "error": float(lost.std() / np.sqrt(len(lost))),
        "largest_sum": max(count.largest_sum for count in totals),
        "overflowed": sum(count.overflowed for count in totals),
    }


def page(stored: dict[str, Any]) -> str:
    """The report."""
    points, db = TOLERANCES.values()
    lines = [
        "# What whole numbers cost",
        "",
        "Top-1 (PSNR of super-resolution) of the network in the whole numbers of a machine, and its loss against",
        "float32 in the same domain, on the same test images, with one standard error.  Scales from 256 training",
        "images of CIFAR-10, 64 of ImageNet, 32 pictures.  Written by `python -m experiments.datapath`, figures in",
        "`datapath.json`.",
        "",
        "words: bits of weights and activations; sums have 24 bits, those of wider words 32. points: of interpolation",
        "behind 0, 1, -1 (default: 2, -2, then 1/2, -1/2). taps: one scale for all Winograd taps, or one each. V bits:",
        "of a transformed input (exact for 8-bit words: 10 in F(2, 3), 15 in F(4, 3), 16 with the points 1/2, -2, 20",
        "in F(6, 3)). scheme: outputs are shifted, or multiplied and shifted; one scale for a layer's weights, or one",
        "a filter. Sums beyond their bits wrap around.",
        "",
        "float32: in the same domain, pruned by the file's threshold, which was trained at m = 2: at m = 6 entries of",
        "G are smaller, and too much of ResNet-20 falls below it (91.0 for 79.5 of 200 images without a threshold).",
        "",
        "`*-dense` are networks of the data folder, nothing pruned.  Super-resolution runs the middles of 228 x 228",
        "pixels (the shortest side of all, whole tiles of every size) of Set5's and Set14's 19 pictures, enlarged",
        "threefold; kernels of 5 x 5 and 9 x 9 are summed directly, as by transform units of 3 x 3 alone",
        "(`largest_kernel: 3`).  Networks that are not in `models/` are files of",
        "`recipes/NAME-compress.yaml`, whose heads say how they are made; that of CT-SRCNN is not shipped, as its",
        "training images have no known licence.",
        "",
        "## Which arithmetic serves",
        "",
        f"Bits of the narrowest words, then of V, that lose at most {points:g} point or {db:g} dB of float32 in the",
        "spatial domain, in the mean; of the measured ones with a scale for each tap and filter, multiplied and",
        "shifted, ranges of least error.  Where none does: the one that loses least.",
        "",
        f"| network | {' | '.join(DOMAINS.values())} |",
        "|---" * (1 + len(DOMAINS)) + "|",
        *(f"| {name} | {' | '.join(_serving(rows, tile) for tile in DOMAINS)} |" for name, rows in stored.items()),
    ]
    for name, rows in stored.items():
        lines += ["", f"## {name}", "", f"Result: {rows['unit']}. Float32, spatial: {_of_float(rows['float'])}.", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [_line(case, rows["cases"][case.name]) for case in cases() if case.name in rows["cases"]]
    return "\n".join(lines) + "\n"


def _serving(rows: dict[str, Any], tile: int) -> str:
    """The narrowest arithmetic in a domain that keeps the tolerance, or the nearest to it; - if none was measured."""
    plain = [case for case in cases() if case == Case(tile, "per_tap" if tile else "", case.bits, words=case.words)]
    measured = [case for case in plain if case.name in rows["cases"]]
    if not measured:
        return "-"

    def loss(case: Case) -> float:
        row = rows["cases"][case.name]
        return float(rows["float"][str(row["images"])] - row["result"])

    kept = [case for case in measured if loss(case) <= TOLERANCES[rows["unit"]]]
    found = min(kept, key=lambda case: (case.words, case.bits)) if kept else min(measured, key=loss)
    bits = f"{found.words}, V {found.bits}" if tile else f"{found.words}"
    lost = f"{loss(found):.2f} +- {rows['cases'][found.name]['error']:.2f}"
    return f"{bits}: {lost}" if kept else f"none ({bits}: {lost})"


def _of_float(known: dict[str, float]) -> str:
    """Results in float32 by the number of images."""
    return ", ".join(f"{result:.2f} on {int(images):,} images" for images, result in known.items())


def _line(case: Case, row: dict[str, Any]) -> str:
    """One case in the table."""
    taps = case.taps.replace("_", " ") or "-"
    cells = [str(case.words), DOMAINS[case.tile], case.points or "-", taps, str(case.bits or "-"), case.scheme]
    cells += [
        case.calibration.replace("_", " "),
        f"{row['images']:,}",
        f"{row['result'] + row['loss']:.2f}",
        f"{row['result']:.2f}",
        f"{row['loss']:.2f} +- {row['error']:.2f}",
    ]
    cells += [str(1 + int(row["largest_sum"]).bit_length()), f"{row['overflowed']:,}"]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = f"one of {', '.join(known())}, or a file of another model"
    parser.add_argument("--model", default="resnet20-cifar10", help=names, metavar="NAME|FILE.dual")
    parser.add_argument("--images", type=int, help="only the first N test images; default: all")
    parser.add_argument("--cases", type=int, help="only the first N arithmetics; default: all")
    parser.add_argument("--case", default="", help="of them only those whose key in datapath.json begins so")
    options = parser.parse_args(arguments)
    if options.cases != 0:
        _measure_missing(options)
    _write(REPORT, page(_stored()))


def _measure_missing(options: argparse.Namespace) -> None:
    """Measure the cases of one model that are not stored on as many images, and store each at once.

    Beside other runs of other models: what they stored meanwhile stays.
    """
    given = problem(options.model).first(options.images)
    model = Path(options.model).stem
    images = len(given.pixels)
    exact: dict[tuple[int, str], Floats] = {}  # by what float32 computes
    seen: dict[tuple[int, str], Ranges] = {}
    for case in cases()[: options.cases]:
        before = _stored().get(model, {}).get("cases", {}).get(case.name, {})
        if not case.name.startswith(options.case) or before.get("images", 0) >= images:
            continue
        for tile, points in dict.fromkeys([(0, ""), (case.tile, case.points)]):
            if (tile, points) not in exact:
                plain = Case(tile, "per_tap" if tile else "", 10, points=points)
                exact[tile, points] = float_scores(given, plain.datapath)
        of_float = case.tile, case.points
        if of_float not in seen:
            seen[of_float] = ranges(given, case)
        found = measure(given, case, seen[of_float], exact[of_float])
        stored = _stored()
        rows = stored.setdefault(model, {"unit": given.unit, "float": {}, "cases": {}})
        rows["float"][str(images)] = float(exact[0, ""].mean())
        rows["cases"][case.name] = found
        _write(STORED, json.dumps(stored, indent=1) + "\n")


def _stored() -> dict[str, Any]:
    """What was measured so far, by model."""
    stored: dict[str, Any] = json.loads(STORED.read_text()) if STORED.exists() else {}
    return stored


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
