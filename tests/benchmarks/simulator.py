"""How long it takes to simulate ResNet-18 on one machine, beside SCALE-Sim.

    python tests/benchmarks/simulator.py [--json] [--no-peer]

CPU seconds of one process on one core, the model already loaded and its zeros counted, mapping and energy included;
the median of several runs.  The network is pruned at 80 % in both domains: real weights from the folder named by
ACCELSIM_DATA, else random ones from a seed (the rows say which).  ``alone``: nothing is known of the layers' tilings
and of the machine's groupings of lanes; ``in a sweep``: the tilings were laid out, and the masks summed at these
groupings, for another machine.

Live beside us, once: SCALE-Sim 3 on one dense layer of the network, in an environment of its own that is made under
``build/peers`` when it is not there (``--no-peer`` leaves it out).  The other rows hold ours against CPU seconds of the
whole dense network on a 32 x 32 machine that were measured elsewhere: SCALE-Sim 3.0.0 507 s, of which 221 s where equal
layers are run once; ZigZag 3.9.1 87 s; STONNE 3,700 s, extrapolated from one layer.
"""

import argparse
import functools
import itertools
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

from accelsim.dual.file import read_dual
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.network.planning import LEVELS
from accelsim.simulator.run import run
from accelsim.simulator.tiles.candidates import remembered_candidates
from accelsim.simulator.tiles.steps import remembered_steps
from accelsim.workload import LayerWork, layer_works
from experiments.peers import scale_sim
from experiments.peers.environment import Unavailable
from tests.benchmarks.resnet18 import write_model

PEERS = {"SCALE-Sim 3.0.0": 221.0, "ZigZag 3.9.1": 87.0, "STONNE": 3700.0}
MACHINES = ("spatial-32x32", "winograd-32x32", "systolic-os-32x32")
RUNS = {"fast": 9, "event": 3}
LIVE_LAYER, LIVE_MACHINE = "layer4.1.conv1", "systolic-os-32x32"


def cpu_seconds(call: Callable[[], object], runs: int, prepare: Callable[[], object] = lambda: None) -> float:
    """Median CPU time of a call; ``prepare`` is called before each and not counted."""
    times = []
    for _ in range(runs):
        prepare()
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def forget(works: Sequence[LayerWork]) -> None:
    """Forget the tilings of the layers and what was summed from the masks for a machine, not the count of the zeros."""
    remembered_candidates.cache_clear()
    remembered_steps.cache_clear()
    for work in works:
        work.derived.clear()


def whole_network(works: Sequence[LayerWork], source: str) -> list[dict[str, Any]]:
    """ResNet-18 on each machine, beside the peers' seconds measured elsewhere."""
    rows = []
    for name in MACHINES:
        machine = load_hardware(name)
        run(works, machine, engine="fast")  # counts the zeros
        for level, engine in itertools.product(LEVELS, RUNS):
            for case, prepare in (("alone", lambda: forget(works)), ("in a sweep", lambda: None)):
                if (engine, case) == ("event", "in a sweep"):
                    continue
                call = functools.partial(run, works, machine, engine=engine, level=level)
                seconds = cpu_seconds(call, RUNS[engine], prepare)
                for peer, theirs in PEERS.items():
                    rows.append(
                        {
                            "case": f"ResNet-18 ({source}), {name}, level {level}, engine {engine}, {case}",
                            "ours": round(seconds, 4),
                            "peer": theirs,
                            "peer_name": peer,
                            "peer_measured": "elsewhere",
                            "unit": "CPU s",
                            "ratio": seconds / theirs,
                        }
                    )
    return rows


def live_layer(works: Sequence[LayerWork]) -> list[dict[str, Any]]:
    """One dense layer on a systolic array, SCALE-Sim run now; the cycles agree or the row is refused."""
    work = next(work for work in works if work.name == LIVE_LAYER)
    ideal = ["dram.type=ideal", *(f"buffers.{name}_kb=65536" for name in ("weight", "input", "output"))]
    machine = load_hardware(LIVE_MACHINE, ideal)
    (theirs,) = scale_sim.simulate([work], machine.pe_array.rows, machine.pe_array.cols, "output_stationary")
    cycles = int(run([work], machine, engine="fast").total["cycles"])
    if cycles != theirs.cycles:
        raise SystemExit(f"{LIVE_LAYER}: {cycles} cycles, SCALE-Sim says {theirs.cycles}")
    seconds = cpu_seconds(lambda: run([work], machine, engine="fast"), RUNS["fast"], lambda: forget([work]))
    row = {
        "case": f"ResNet-18's {LIVE_LAYER}, dense, {LIVE_MACHINE}, engine fast: the same {cycles:,} cycles",
        "ours": round(seconds, 5),
        "peer": round(theirs.cpu_seconds, 2),
        "peer_name": "SCALE-Sim 3.0.0",
        "unit": "CPU s",
        "ratio": seconds / theirs.cpu_seconds,
    }
    return [row]


def main() -> None:
    """Print one row a machine, engine and peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--no-peer", action="store_true", help="do not run SCALE-Sim")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet18.dual"
        source = write_model(path)
        works = layer_works(read_dual(path))
    rows = whole_network(works, source)
    if not arguments.no_peer:
        try:
            rows += live_layer(works)
        except Unavailable as error:
            sys.stderr.write(f"SCALE-Sim is left out: {error}\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if arguments.json:
        print(json.dumps({"rows": rows, "peak_rss_mb": round(peak, 1), "load_average": os.getloadavg()[0]}))
        return
    for row in rows:
        where = " elsewhere" if "peer_measured" in row else ""
        print(
            f"{row['case']}: {row['ours']:.4f} CPU s; {row['peer_name']} {row['peer']:g} s{where}, "
            f"{1 / row['ratio']:,.0f} times as long"
        )
    print(f"peak memory {peak:.0f} MB; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
