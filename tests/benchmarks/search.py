"""How much of the exhaustive front a guided search finds with a tenth of the points.

    python tests/benchmarks/search.py SWEEP.yaml DIR [--json] [--seeds N] [-o REPORT.md]

Computes every point of the sweep (DIR keeps them, so that it need be done once), then searches the same grid with a
tenth of the budget under several seeds, each search from nothing: it sees only the points that it asks for.  The
measure is the hypervolume of the front, of all families and of each, over the objectives and over their logarithms;
the reference point is the worst value of each objective in the whole space.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

from accelsim.explore.description import Sampling
from accelsim.explore.evaluate import Outcome
from accelsim.explore.pareto import costs_of, front, hypervolume
from accelsim.explore.store import FILE_NAME, Store
from accelsim.explore.sweep import Sweep, guided, read_back, run_sweep
from accelsim.explore.tasks import PointTasks, read_tasks
from accelsim.files import write_text


def search(laid: PointTasks, root: Path, seed: int, budget: int, store: Store) -> Sweep:
    """A search whose points all come from the store."""
    description = laid.description.model_copy(update={"sampling": Sampling(seed=seed)})

    def refuse(_: Any) -> Any:
        raise AssertionError("a point of the grid is not in the store")
        yield Outcome("", "failed")

    return read_back(guided(description, root, budget, store, refuse), store)


def shares(found: Sweep, everything: Sweep) -> dict[str, float]:
    """Hypervolume of the front found over that of the exhaustive one, by family and scale."""
    objectives = everything.description.report.objectives
    both = [costs_of(sweep.table, objectives) for sweep in (found, everything)]
    result = {}
    for family in ("all", *dict.fromkeys(everything.table["family"])):
        mine = [
            c[((s.table["family"] == family) | (family == "all")).to_numpy()]
            for c, s in zip(both, (found, everything), strict=True)
        ]
        for scale, of in (("linear", np.asarray), ("log", np.log)):
            some, every = (of(c[~np.isnan(c).any(axis=1)]) for c in mine)
            reference = of(np.nanmax(both[1], axis=0)) + 1e-9
            result[f"{family}, {scale}"] = hypervolume(some, reference) / hypervolume(every, reference)
    return result


def report(name: str, points: int, budget: int, fronts: dict[str, int], runs: list[dict[str, Any]]) -> str:
    """The figures as a page."""
    cases = list(runs[0]["shares"])
    lines = [
        f"# Guided search against exhaustive sweep: {name}",
        "",
        f"{points:,} machines, all simulated; each search saw {budget:,} ({100 * budget / points:.1f} %). Share "
        "of the exhaustive front's hypervolume, in percent:",
        "",
        "| front | points on it | " + " | ".join(f"seed {run['seed']}" for run in runs) + " |",
        "|---|---|" + "---|" * len(runs),
    ]
    for case in cases:
        cells = " | ".join(f"{100 * run['shares'][case]:.2f}" for run in runs)
        lines.append(f"| {case} | {fronts[case.partition(',')[0]]} | {cells} |")
    lines += ["", f"Reproduce: `python tests/benchmarks/search.py sweeps/{name}.yaml DIR -o REPORT.md`", ""]
    return "\n".join(lines)


def main() -> None:
    """Print the figures, and write them as a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    everything = run_sweep(options.sweep, options.folder, workers=options.workers)
    laid = read_tasks(options.sweep)
    budget = len(laid.points) // 10
    costs = costs_of(everything.table, laid.description.report.objectives)
    family = everything.table["family"].to_numpy()
    fronts = {
        name: int(front(costs[(family == name) | (name == "all")]).sum()) for name in ("all", *dict.fromkeys(family))
    }
    runs = []
    with Store(options.folder / FILE_NAME) as store:
        for seed in range(options.seeds):
            start = time.process_time()
            found = search(laid, options.sweep.parent, seed, budget, store)
            assert len(found.table) <= budget
            runs.append(
                {"seed": seed, "shares": shares(found, everything), "proposing_seconds": time.process_time() - start}
            )
    page = report(laid.description.name, len(laid.points), budget, fronts, runs)
    if options.output:
        write_text(options.output, page)
    if options.json:
        rows = [
            {
                "case": f"{case}, seed {run['seed']}",
                "ours": share,
                "peer": 1.0,
                "peer_name": "exhaustive",
                "unit": "hypervolume",
                "ratio": share,
            }
            for run in runs
            for case, share in run["shares"].items()
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rows": rows, "peak_rss_mb": peak, "points": len(laid.points), "budget": budget}))
    else:
        print(page)
        print(f"proposing took {max(run['proposing_seconds'] for run in runs):.0f} CPU seconds at most")


if __name__ == "__main__":
    main()
