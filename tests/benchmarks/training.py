"""One training step beside PyTorch on the CPU, with the same number of threads, alternating in one process.

    pip install .[peers]
    python tests/benchmarks/training.py [--json] [--threads N] [--repeats N]

A step is forward, cross-entropy, backward and SGD with Nesterov momentum.  PyTorch runs in its default layout and in
channels-last; it is compared with the faster of the two.  ``ratio`` = ours / PyTorch's, medians of the repeats.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

CASES = {
    "resnet20-cifar10, batch 128, 32 px": ("resnet20-cifar10", 128, 8),
    "resnet18, batch 8, 224 px": ("resnet18", 8, 2),
}


def steps(network: str, batch: int, block: int, threads: int) -> dict[str, Callable[[], None]]:
    """One function for each way to make a step, all on the same network and images."""
    import numpy as np
    import torch

    from accelsim.network.zoo import named_graph
    from accelsim.training.losses import cross_entropy
    from accelsim.training.optimizers import Sgd
    from accelsim.training.plan import Plan
    from accelsim.training.run import initial_arrays
    from tests.training.torch_twin import Twin

    graph = named_graph(network)
    first = initial_arrays(graph, 0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *graph.input_shape)).astype(np.float32)
    labels = rng.integers(0, graph.shapes[graph.nodes[-1].name][-1], batch)

    trained = {name: array for name, array in first.items() if "running" not in name}
    values = np.concatenate([array.ravel() for array in trained.values()])
    gradient = np.zeros_like(values)
    arrays, gradients, start = dict(first), {}, 0
    for name, array in trained.items():
        span = slice(start, start + array.size)
        arrays[name], gradients[name] = values[span].reshape(array.shape), gradient[span].reshape(array.shape)
        start += array.size
    plan = Plan(graph, arrays, batch, gradients=gradients, training=True, workers=threads, block=block)
    optimizer = Sgd(values.size)

    def ours() -> None:
        _, d_logits = cross_entropy(plan.forward(x), labels)
        plan.backward(d_logits)
        optimizer.step(values, gradient, 1e-3)

    def torchs(layout: Any) -> Callable[[], None]:
        twin = Twin(graph, first).train().to(memory_format=layout)
        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=layout)
        targets = torch.from_numpy(labels)
        sgd = torch.optim.SGD(twin.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

        def step() -> None:
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(twin(images), targets).backward()
            sgd.step()

        return step

    return {
        "ours": ours,
        "PyTorch, channels last": torchs(torch.channels_last),
        "PyTorch, default layout": torchs(torch.contiguous_format),
    }


def measure(case: str, threads: int, repeats: int) -> dict[str, Any]:
    """One row of the table: median seconds of a step."""
    network, batch, block = CASES[case]
    ways = steps(network, batch, block, threads)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if repeat:  # the first one makes buffers and chooses kernels
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peer = min((name for name in ways if name != "ours"), key=medians.__getitem__)
    return {
        "case": case,
        "ours": medians["ours"],
        "peer": medians[peer],
        "peer_name": peer,
        "unit": "s/step",
        "ratio": medians["ours"] / medians[peer],
    }


def main() -> None:
    """Run all cases and print the table or the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    # Our threads each multiply alone, so BLAS gets one; it must be told before NumPy is loaded.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(options.threads)
    rows = [measure(case, options.threads, options.repeats) for case in CASES]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps({"rows": rows, "peak_rss_mb": round(peak_mb, 1)}))
        return
    for row in rows:
        print(f"{row['case']:<36} ours {row['ours']:.3f}  {row['peer_name']} {row['peer']:.3f} s  {row['ratio']:.2f}x")
    print(f"peak memory of all three together: {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
