"""Points a second of a sweep: a pruned ResNet-18 on machines of both kinds, mapping included.

    python tests/benchmarks/sweep.py [--json] [--points N] [--workers N]

A point is one network on one machine, on the ``fast`` engine.  The masks are those of ResNet-18 pruned at 80 % in both
domains: real weights from the folder named by ACCELSIM_DATA, else random ones from a seed (the row says which).  The
time is that of the whole command in this process: workers' start, model, masks, results on disk.  ``ours`` is seconds a
point on all workers; peers' seconds a point are CPU seconds of one process on one core for ResNet-18 on one dense
32 x 32 machine, measured elsewhere, so the ratio is a size, not a race.
"""

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from accelsim.explore.local import default_workers  # noqa: E402
from accelsim.explore.sweep import run_sweep  # noqa: E402
from tests.benchmarks.resnet18 import write_model  # noqa: E402

PEERS = {"SCALE-Sim 3.0.0": 507.0, "ZigZag 3.9.1": 87.0, "AccelForge 1.0.467": 600.0, "STONNE": 3700.0}


def write_sweep(folder: Path, points: int) -> Path:
    """A Latin hypercube of machines, half of each kind."""
    machine = {"pe_array.rows": "rows", "pe_array.cols": "cols", "dram.bandwidth_gbs": "bandwidth"}
    buffers = {f"buffers.{name}_kb": f"{share} * sram" for name, share in (("weight", 0.4), ("output", 0.3))}
    spatial = {**machine, **buffers, "buffers.input_kb": "0.3 * sram"}
    winograd = {**machine, **buffers, "buffers.input_kb": "0.1 * sram", "buffers.transformed_kb": "0.2 * sram"}
    content = {
        "models": ["resnet18.dual"],
        "axes": {
            "rows": [8, 16, 32, 64],
            "cols": [8, 16, 32, 64],
            "sram": {"from": 256, "to": 1024, "scale": "log", "integer": True},
            "bandwidth": {"from": 6.4, "to": 102.4, "scale": "log"},
        },
        "sampling": {"method": "latin_hypercube", "points": points // 2},
        "machines": {
            "spatial": {"base": "spatial-32x32", "set": spatial},
            "winograd": {"base": "winograd-32x32", "axes": {"tile": [2, 4]}, "set": winograd},
        },
    }
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(points: int, workers: int) -> dict[str, Any]:
    """Rows and memory, as every benchmark reports them, and the points a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_model(folder / "resnet18.dual")
        path = write_sweep(folder, points)
        ticks: list[float] = []
        start, busy = time.perf_counter(), cpu_seconds()
        done = run_sweep(path, folder / "out", workers=workers, progress=lambda *_: ticks.append(time.perf_counter()))
        seconds, busy = time.perf_counter() - start, cpu_seconds() - busy
    # Quarters of the points, in the order they were done: the first one has the start of the workers and of the model,
    # the others say whether a point costs the same however many there are.
    edges = [0, *(len(ticks) * i // 4 - 1 for i in range(1, 5))]
    quarters = [(ticks[b] - ticks[a]) / (b - a) for a, b in itertools.pairwise(edges)]
    steady = 3 / sum(quarters[1:])
    case = f"ResNet-18 ({source}), {done.counts['done']} points, {workers} workers"
    rows = [
        {
            "case": case,
            "ours": seconds / len(done.table),
            "peer": peer,
            "peer_name": f"{peer_name}, one dense machine",
            "unit": "s/point",
            "ratio": seconds / len(done.table) / peer,
            "peer_measured": "elsewhere",
        }
        for peer_name, peer in PEERS.items()
    ]
    own, children = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return {
        "rows": rows,
        "peak_rss_mb": own + workers * children,  # the largest worker, counted for each
        "points_per_second": len(done.table) / seconds,
        "steady_points_per_second": steady,
        "seconds_per_point_by_quarter": quarters,
        "cpu_seconds_per_point": busy / len(done.table),
        "failed": len(done.table) - done.counts["done"],
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--workers", type=int, default=min(2, default_workers()))
    options = parser.parse_args()
    found = measure(options.points, options.workers)
    if options.json:
        print(json.dumps(found))
        return
    print(found["rows"][0]["case"])
    print(f"{found['points_per_second']:.1f} points/s in all, {found['steady_points_per_second']:.1f} once running")
    each = found["cpu_seconds_per_point"]
    print(f"{1000 * each:.0f} ms of CPU time a point, workers' start included: {2 / each:.0f} points/s on 2 idle cores")
    quarters = ", ".join(f"{1000 * seconds:.0f}" for seconds in found["seconds_per_point_by_quarter"])
    print(f"ms a point in each quarter of the points: {quarters} (linear: the last three are alike)")
    print(f"at most {found['peak_rss_mb']:.0f} MB on all processes; load average {found['load_average']:.1f}")
    for row in found["rows"]:
        print(
            f"{row['peer_name']}: {row['peer']:.0f} s a point, {1 / row['ratio']:,.0f} times ours (measured elsewhere)"
        )


if __name__ == "__main__":
    main()
