"""Points a second of a sweep: a pruned ResNet-18 on machines of both kinds, mapping included.

    python tests/benchmarks/sweep.py [--json] [--points N] [--workers N]

A point is one network on one machine, on the ``fast`` engine.  The masks are those of ResNet-18 pruned at 80 % in both
domains: real weights from the folder named by ACCELSIM_DATA, else random ones from a seed (the row says which).  Points
of both kinds take turns, so that every part of the sweep is alike.  Two runs of the same points:

- on all workers, timed as a whole: workers' start, model, masks, results on disk.  ``ours`` is its seconds a point;
- in one process, CPU seconds of each quarter of the points, which other programs hardly disturb.  The first quarter
  has the model and the masks, the others say whether a point costs the same however many there are.

Peers' seconds a point are CPU seconds of one process on one core for ResNet-18 on one dense 32 x 32 machine, measured
elsewhere, so the ratio is a size, not a race.
"""

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

from accelsim.explore.store import FILE_NAME, Store
from accelsim.explore.sweep import Sweep, executor, read_back, run_tasks
from accelsim.explore.tasks import read_tasks
from accelsim.threads import cores
from tests.benchmarks.resnet18 import write_model

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


def sweep(path: Path, folder: Path, workers: int, progress: Callable[..., None]) -> Sweep:
    """What ``accelsim sweep`` does, the points of both kinds in turns.  progress: called when a point is finished."""
    laid = read_tasks(path)
    with Store(folder / FILE_NAME) as store:
        tasks = laid.pending(store)
        half = -(-len(tasks) // 2)  # of one kind, then as many of the other
        turns = [tasks[i] for i in sorted(range(len(tasks)), key=lambda i: i % half)]
        run_tasks(turns, store, executor(workers, None), progress)
        return read_back(laid, store)


def by_quarter(ticks: list[float]) -> list[float]:
    """Seconds a point in each quarter of the points.  ticks: the start, and when each point was finished."""
    edges = [(len(ticks) - 1) * i // 4 for i in range(5)]
    return [(ticks[b] - ticks[a]) / (b - a) for a, b in itertools.pairwise(edges)]


def measure(points: int, workers: int) -> dict[str, Any]:
    """Rows and memory, as every benchmark reports them, and the points a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_model(folder / "resnet18.dual")
        path = write_sweep(folder, points)
        ticks, busy = [time.perf_counter()], cpu_seconds()
        done = sweep(path, folder / "all", workers, lambda *_: ticks.append(time.perf_counter()))
        seconds, busy = time.perf_counter() - ticks[0], cpu_seconds() - busy
        own, children = (
            resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        cpu = [time.process_time()]
        sweep(path, folder / "one", 1, lambda *_: cpu.append(time.process_time()))
    quarters, cpu_quarters = by_quarter(ticks), by_quarter(cpu)
    steady_cpu = sum(cpu_quarters[1:]) / 3
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
    return {
        "rows": rows,
        "peak_rss_mb": own + workers * children,  # the largest worker, counted for each
        "points_per_second": len(done.table) / seconds,
        "steady_points_per_second": 3 / sum(quarters[1:]),
        "seconds_per_point_by_quarter": quarters,
        "cpu_seconds_per_point": busy / len(done.table),
        "steady_cpu_seconds_per_point": steady_cpu,
        "cpu_seconds_per_point_by_quarter": cpu_quarters,
        "failed": len(done.table) - done.counts["done"],
        "load_average": os.getloadavg()[0],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--points", type=int, default=400)
    parser.add_argument("--workers", type=int, default=min(2, cores()))
    options = parser.parse_args()
    found = measure(options.points, options.workers)
    if options.json:
        print(json.dumps(found))
        return
    print(found["rows"][0]["case"])
    print(f"{found['points_per_second']:.1f} points/s in all, {found['steady_points_per_second']:.1f} once running")
    each, steady = found["cpu_seconds_per_point"], found["steady_cpu_seconds_per_point"]
    print(f"{1000 * each:.1f} ms of CPU time a point, all start-up included: {2 / each:.0f} points/s on 2 idle cores")
    print(f"{1000 * steady:.1f} ms of CPU time a point once running: {2 / steady:.0f} points/s on 2 idle cores")
    for name, what in (
        ("cpu_seconds", "CPU ms a point, one process"),
        ("seconds", f"ms a point, {options.workers} workers"),
    ):
        quarters = ", ".join(f"{1000 * seconds:.1f}" for seconds in found[f"{name}_per_point_by_quarter"])
        print(f"{what}, a point in each quarter of the points: {quarters} (linear: the last three are alike)")
    print(f"at most {found['peak_rss_mb']:.0f} MB on all processes; load average {found['load_average']:.1f}")
    for row in found["rows"]:
        print(
            f"{row['peer_name']}: {row['peer']:.0f} s a point, {1 / row['ratio']:,.0f} times ours (measured elsewhere)"
        )


if __name__ == "__main__":
    main()
