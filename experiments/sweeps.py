"""Write reports/sweeps again: tables and plots of the shipped sweeps, the check of the guided search, and their page.

    python -m experiments.sweeps DIR [--workers N] [--seeds N]

DIR keeps all results, so that a second run, or one that was cut off, computes only what is not there, and the whole
report of each sweep in a folder of its own.  Every figure of the page is computed here from the sweeps' tables.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from accelsim.explore.store import FILE_NAME
from accelsim.explore.sweep import Sweep, run_sweep
from accelsim.files import write_bytes, write_text
from accelsim.report.sweep_maps import break_even_table
from accelsim.report.sweep_report import sweep_report
from accelsim.report.write import write_files
from experiments.paths import REPORTS, ROOT, SWEEPS

OUT = REPORTS / "sweeps"
SEARCH = "resnet20-search"
MACHINES = "resnet20-machines"
CODESIGN = "resnet20-codesign"
KEPT = {  # of each sweep's report, in reports/sweeps
    MACHINES: ("front.csv", "pareto.png", "sensitivity.png"),
    CODESIGN: ("front.csv", "break_even.csv", "break_even.png"),
}
PAIR = ["lanes", "sram_total_kb", "bandwidth", "rows", "balance"]  # what the two machines of a pair share
CELLS = (("top1", 1), ("winograd_density", 3))  # of each tile size, and digits

PAGE = """\
# Sweeps of the compressed ResNet-20

One file, `models/resnet20-cifar10.dual` ({file_kb:.1f} KB; weight density {spatial_density:.2f},
Winograd-domain density {winograd_density:.2f} at F(2,3)), on generic machines at equal lanes, SRAM bytes and DRAM
bandwidth; everything below is simulated, `fast` engine, and written by `python -m experiments.sweeps DIR`. The whole
pages, `DIR/resnet20-machines/report.html` and `DIR/resnet20-codesign/report.html`, are made by that command or, each by
itself, by `accelsim sweep sweeps/NAME.yaml -o DIR/NAME`; they are not kept here.

## Which machine to build (`sweeps/resnet20-machines.yaml`, {machine_points:,} points)

Pairs at equal lanes, SRAM, bandwidth, rows and filter order, each kind with the better of its filters a lane or tile
sizes: {pairs}. The Winograd machine is the faster in {faster:.0f} % of them and takes less energy in {leaner:.0f} %.
Its latency over the spatial machine's, median of the pairs:

{ratios}

On the front over latency, energy and area are {front} machines ({front_of}). The extremes of each kind:

{extremes}

![All points and the fronts](resnet20-machines/pareto.png)

What moves the latency most (share of its variance, each axis alone): {axes}.

![What matters](resnet20-machines/sensitivity.png)

{cheapest}

## At which density Winograd stops paying (`sweeps/resnet20-codesign.yaml`, {codesign_points:,} points)

The file deployed at other Winograd-domain sparsities, nothing trained again; top-1 in percent on {images} images, one
standard error is {error:.1f} points. The spatial machine has {spatial_top1:.1f}. Sparsity 0 is the file without any
threshold: its entries are as sparse as whole zero kernels make them, so lower targets would change nothing.

{variants}

Layers (of {layers}) in which the best Winograd machine of each tile size is at least as fast as the best spatial one,
by bandwidth: at every density tried, up to a density in between, and at none. `resnet20-codesign/break_even.csv` has
that density for each layer and bandwidth.

{pays}

![Break-even densities by layer and bandwidth](resnet20-codesign/break_even.png)

## Guided search (`sweeps/resnet20-search.yaml`, {search_points:,} machines)

With {budget} of them ({share:.0f} %) the search reached {linear:.2f} % of the exhaustive front's hypervolume or more
({logarithmic:.2f} % over the objectives' logarithms) under each of {seeds} seeds: [search.md](search.md).
"""


def run_and_report(name: str, folder: Path, workers: int | None) -> Sweep:
    """Compute what is missing of a shipped sweep, write its report to the folder, and keep tables and plots of it."""
    done = run_sweep(SWEEPS / f"{name}.yaml", folder / name, workers=workers)
    files = sweep_report(done)
    write_files(folder / name, files)
    for kept in KEPT[name]:
        write_bytes(OUT / name / kept, files[kept])
    return done


def search(folder: Path, workers: int | None, seeds: int) -> dict[str, object]:
    """Compute the whole space and search it; ``search.md``, and the least share of the hypervolume over the seeds."""
    command = [sys.executable, "-m", "tests.benchmarks.search", str(SWEEPS / f"{SEARCH}.yaml"), str(folder / SEARCH)]
    command += ["--json", "--seeds", str(seeds), "-o", str(OUT / "search.md")]
    command += ["--workers", str(workers)] if workers else []
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    least = {
        scale: 100 * min(row["ours"] for row in found["rows"] if row["case"].startswith(f"all, {scale}"))
        for scale in ("linear", "log")
    }
    return {
        "search_points": found["points"],
        "budget": found["budget"],
        "share": 100 * found["budget"] / found["points"],
        "linear": least["linear"],
        "logarithmic": least["log"],
        "seeds": seeds,
    }


def machines(sweep: Sweep) -> dict[str, object]:
    """The figures of the page's part on which machine to build."""
    done = sweep.table[sweep.table["status"] == "done"]
    best = done.groupby([*PAIR, "family"])[["latency_ms", "energy_pj"]].min().unstack("family").dropna()
    latency = best["latency_ms"]["winograd"] / best["latency_ms"]["spatial"]
    rows = [
        [name, *(f"{value:g}: {ratio:.2f}" for value, ratio in latency.groupby(level=column).median().items())]
        for name, column in (("GB/s", "bandwidth"), ("lanes", "lanes"))
    ]
    front = sweep.answers.fronts["all"]
    extremes = []
    for family in ("spatial", "winograd"):
        least = done[done["family"] == family][["latency_ms", "energy_pj", "area_mm2"]].min()
        figures = (
            f"{least['latency_ms']:.3f} ms",
            f"{least['energy_pj'] / 1e6:.1f} uJ",
            f"{least['area_mm2']:.3f} mm2",
        )
        extremes.append([family, *figures])
    ranked = sweep.answers.sensitivity["latency_ms"]
    axes = "; ".join(
        f"{family} machines: " + ", ".join(f"{row.axis} {row.share:.2f}" for row in table.head(3).itertuples())
        for family, table in ranked.items()
    )
    return {
        "machine_points": len(sweep.table),
        "pairs": len(best),
        "faster": 100 * float((latency < 1).mean()),
        "leaner": 100 * float((best["energy_pj"]["winograd"] < best["energy_pj"]["spatial"]).mean()),
        "ratios": bullets(f"by {name}: {', '.join(cells)}" for name, *cells in rows),
        "front": len(front),
        "front_of": ", ".join(f"{count} {family}" for family, count in front["family"].value_counts().items()),
        "extremes": markdown(["", "fastest", "least energy", "least area"], extremes),
        "axes": axes,
        "cheapest": bullets(answers_of(sweep)),
    }


def answers_of(sweep: Sweep) -> list[str]:
    """The cheapest machine of each question, in words."""
    lines = []
    for found in sweep.answers.cheapest:
        question = found.question
        row = found.row
        limits = " and ".join(f"{column} at most {limit:g}" for column, limit in question.limits.items())
        if row is None:
            lines.append(f"{question.minimize} with {limits}: no machine")
            continue
        machine = f"{row['family']}, {row['lanes']} lanes, {row['sram_total_kb']} KiB, {row['bandwidth']:g} GB/s"
        lines.append(f"least {question.minimize} with {limits}: {row[question.minimize]:.4g} ({machine})")
    return lines


def codesign(sweep: Sweep) -> dict[str, object]:
    """The figures of the page's part on break-even densities."""
    done = sweep.table[sweep.table["status"] == "done"]
    spatial, winograd = (done[done["family"] == family] for family in ("spatial", "winograd"))
    of_tile = winograd.groupby(["winograd_sparsity", "tile"])[["top1", "winograd_density"]].first().unstack("tile")
    tiles = sorted(int(tile) for tile in winograd["tile"].unique())
    variants = [
        [f"{target:g}", *(f"{row[column, tile]:.{digits}f}" for tile in tiles for column, digits in CELLS)]
        for target, row in of_tile.iterrows()
    ]
    even = break_even_table(sweep)
    kinds = np.select([even["always"], even["break_even"] == 0], ["every", "none"], "between")
    counts = even.assign(kind=kinds).groupby(["bandwidth_gbs", "tile", "kind"]).size().unstack("kind", fill_value=0)
    by_bandwidth = counts.reindex(columns=["every", "between", "none"], fill_value=0).unstack("tile")
    pays = [
        [
            f"{bandwidth:g}",
            *(" / ".join(str(row[kind, tile]) for kind in ("every", "between", "none")) for tile in tiles),
        ]
        for bandwidth, row in by_bandwidth.iterrows()
    ]
    top1 = float(spatial["top1"].iloc[0])
    images = int(spatial["images"].iloc[0])
    as_it_is = winograd[(winograd["winograd_sparsity"] == 0) & (winograd["tile"] == tiles[0])].iloc[0]
    return {
        "file_kb": float(spatial["file_bytes"].iloc[0]) / 1000,
        "spatial_density": float(spatial["spatial_density"].iloc[0]),
        "winograd_density": float(as_it_is["winograd_density"]),
        "codesign_points": len(sweep.table),
        "images": images,
        "error": float(np.sqrt(top1 * (100 - top1) / images)),
        "spatial_top1": top1,
        "variants": markdown(
            ["Winograd sparsity", *(f"{head}, F({tile},3)" for tile in tiles for head in ("top-1", "density"))],
            variants,
        ),
        "layers": even["layer"].nunique(),
        "pays": markdown(["GB/s", *(f"F({tile},3): every / up to one / none" for tile in tiles)], pays),
    }


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def bullets(lines: Iterable[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


def main() -> None:
    """Write all of reports/sweeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder = options.folder.resolve()
    workers = options.workers
    found = search(folder, workers, options.seeds)
    # The machines at one of the two clocks are those of the other sweep: what is computed is not computed again.
    if not (folder / MACHINES / FILE_NAME).exists():
        (folder / MACHINES).mkdir(parents=True)
        shutil.copy(folder / SEARCH / FILE_NAME, folder / MACHINES / FILE_NAME)
    figures = {**found, **machines(run_and_report(MACHINES, folder, workers))}
    figures |= codesign(run_and_report(CODESIGN, folder, workers))
    write_text(OUT / "README.md", PAGE.format(**figures))


if __name__ == "__main__":
    main()
