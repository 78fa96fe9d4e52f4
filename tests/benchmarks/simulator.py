"""How long it takes to simulate ResNet-18 on one machine: ``python tests/benchmarks/simulator.py --json``.

CPU seconds of one process on one core, the model already loaded and its zeros counted, mapping and energy included; the
median of several runs.  The peers' times are those measured on a 32 x 32 machine with the dense network
(SCALE-Sim 3.0.0: 507 CPU s, of which 221 s where equal layers are run once; ZigZag 3.9.1: 87 s;
STONNE: 3,700 s, extrapolated from one layer), so their rows say ``"peer_measured": "elsewhere"``.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from accelsim.compression.model import DualModel, winograd_eligible
from accelsim.hardware.load import load_hardware
from accelsim.network import Network
from accelsim.network.zoo import named_graph
from accelsim.simulator.run import run
from accelsim.workload import layer_works

PEERS = {"SCALE-Sim 3.0.0": 221.0, "ZigZag 3.9.1": 87.0, "STONNE": 3700.0}
MACHINES = ("spatial-32x32", "winograd-32x32", "systolic-os-32x32")
RUNS = {"fast": 9, "event": 3}


def model(density: float = 0.25) -> DualModel:
    """ResNet-18 with a quarter of its weights kept, at random; seed 0."""
    graph, rng = named_graph("resnet18-folded"), np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, np.float32) for name, shape in graph.parameters.items()}
    for weights in arrays.values():
        if weights.ndim > 1:
            weights[rng.random(weights.shape, np.float32) >= density] = 0
    tiles = {node.name: 2 for node in graph.nodes if winograd_eligible(node)}
    return DualModel(Network(graph, arrays), tiles, 0.7)


def cpu_seconds(call: Callable[[], object], runs: int) -> float:
    """Median CPU time of a call."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    """Print one row a machine, engine and peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    works = layer_works(model())
    rows = []
    for name in MACHINES:
        machine = load_hardware(name)
        run(works, machine, engine="fast")  # counts the zeros
        for engine, runs in RUNS.items():
            seconds = cpu_seconds(lambda m=machine, e=engine: run(works, m, engine=e), runs)
            for peer, theirs in PEERS.items():
                rows.append(
                    {
                        "case": f"ResNet-18, {name}, engine {engine}",
                        "ours": round(seconds, 4),
                        "peer": theirs,
                        "peer_name": peer,
                        "peer_measured": "elsewhere",
                        "unit": "CPU s",
                        "ratio": seconds / theirs,
                    }
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if arguments.json:
        print(json.dumps({"rows": rows, "peak_rss_mb": round(peak, 1)}))
        return
    for row in rows:
        print(f"{row['case']:45} {row['ours']:8.3f} s   {row['peer_name']} {row['peer']:g} s elsewhere")
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
