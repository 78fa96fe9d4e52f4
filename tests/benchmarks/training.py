"""One training step beside PyTorch on the CPU, with the same number of threads, alternating in one process.

    pip install .[peers]
    python tests/benchmarks/training.py [--json] [--threads N] [--repeats N]

A step is forward, cross-entropy, backward and SGD with Nesterov momentum.  PyTorch runs in its default layout and in
channels-last; it is compared with the faster of the two.  ``ratio`` = ours / PyTorch's, medians of the repeats.

What a step of joint sparsity adds is beside it: the regularizer (both percentiles, the Winograd transforms and their
gradients) and the optimiser, as a share of the layers' time; and the percentile of ResNet-18's 11 million weights,
which change a little from call to call as they do in training, beside ``np.partition`` and ``np.sort``.
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

sys.path.insert(0, str(Path(__file__).parents[2]))  # where it is run by its path

CASES = {
    "resnet20-cifar10, batch 128, 32 px": ("resnet20-cifar10", 128),
    "resnet18, batch 8, 224 px": ("resnet18", 8),
}
RESNET18_WEIGHTS = 11_678_912  # in convolutions and the fully-connected layer


def steps(network: str, batch: int, threads: int) -> dict[str, Callable[[], None]]:
    """One function for each way to make a step, all on the same network and images."""
    import numpy as np
    import torch

    from accelsim.network.zoo import named_graph
    from accelsim.training.compiled import MOST, CompiledNetwork, Execution, Learning
    from accelsim.training.first_weights import initial_arrays
    from accelsim.training.losses import cross_entropy
    from accelsim.training.optimizers import Sgd
    from tests.training.torch_twin import Twin

    graph = named_graph(network)
    first = initial_arrays(graph, 0)
    block = min(MOST, batch // threads)  # a block for each thread at least
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
    compiled = CompiledNetwork(
        graph,
        arrays,
        batch,
        learning=Learning(gradients=gradients, training=True),
        execution=Execution(workers=threads, block=block),
    )
    optimizer = Sgd(values.size)

    def ours() -> None:
        _, d_logits = cross_entropy(compiled.forward(x), labels)
        compiled.backward(d_logits)
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
    ways = steps(*CASES[case], threads)
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


def overhead(case: str, layers_s: float, repeats: int) -> list[dict[str, Any]]:
    """Rows for the work of a step outside of its layers: median seconds, beside the layers' seconds."""
    import numpy as np

    from accelsim.network.zoo import named_graph
    from accelsim.sparsity.joint import JointRegularizer
    from accelsim.training.first_weights import initial_arrays
    from accelsim.training.optimizers import Adam

    graph = named_graph(CASES[case][0])
    arrays = {name: array for name, array in initial_arrays(graph, 0).items() if "running" not in name}
    gradients = {name: np.zeros_like(array) for name, array in arrays.items()}
    values = np.concatenate([array.ravel() for array in arrays.values()])
    regularizer, optimizer = JointRegularizer(graph, {"default": 2}), Adam(values.size)
    gradient, rng = np.zeros_like(values), np.random.default_rng(0)
    parts: dict[str, tuple[Callable[[], object], list[float]]] = {
        "R_SD": (lambda: regularizer.spatial_penalty(arrays, 0.8, gradients, 0.0), []),
        "R_WD": (lambda: regularizer.winograd_penalty(arrays, 0.8, gradients, 0.0), []),
        "Adam": (lambda: optimizer.step(values, gradient, 1e-3), []),
    }
    for repeat in range(repeats + 1):
        for array in arrays.values():
            array *= 1 + np.float32(1e-3) * rng.standard_normal(array.shape, dtype=np.float32)
        for run, times in parts.values():
            start = time.perf_counter()
            run()
            if repeat:
                times.append(time.perf_counter() - start)
    network = case.partition(",")[0]
    seconds = {name: statistics.median(times) for name, (_, times) in parts.items()}
    return [
        {
            "case": f"{network}, {name}",
            "ours": value,
            "peer": layers_s,
            "peer_name": "the step's layers",
            "unit": "s/step",
            "ratio": value / layers_s,
        }
        for name, value in seconds.items()
    ]


def percentiles(size: int, repeats: int) -> list[dict[str, Any]]:
    """Rows for the 80th percentile of so many magnitudes that change by a thousandth from call to call."""
    import numpy as np

    from accelsim.sparsity.joint import Percentile

    rng = np.random.default_rng(0)
    magnitudes = np.abs(rng.standard_normal(size, dtype=np.float32))
    rank = int(np.ceil(0.8 * size)) - 1
    percentile = Percentile()
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: percentile.threshold(magnitudes, 0.8),
        "np.partition": lambda: np.partition(magnitudes, rank)[rank],
        "np.sort": lambda: np.sort(magnitudes)[rank],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        magnitudes *= 1 + np.float32(1e-3) * rng.standard_normal(size, dtype=np.float32)
        found = []
        for name, way in ways.items():
            start = time.perf_counter()
            found.append(float(way()))
            if repeat:
                seconds[name].append(time.perf_counter() - start)
        assert len(set(found)) == 1, found
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return [
        {
            "case": f"percentile of {size / 1e6:.1f} M",
            "ours": medians["ours"],
            "peer": medians[name],
            "peer_name": name,
            "unit": "s/call",
            "ratio": medians["ours"] / medians[name],
        }
        for name in ("np.partition", "np.sort")
    ]


def main() -> None:
    """Run all cases and print the table or the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--network", choices=[network for network, _ in CASES.values()], help="the step of this one only"
    )
    options = parser.parse_args()
    # Our threads each multiply alone, so BLAS gets one; it must be told before NumPy is loaded.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(options.threads)
    cases = [case for case, (network, _) in CASES.items() if options.network in (None, network)]
    rows = [measure(case, options.threads, options.repeats) for case in cases]
    if options.network is None:
        for row in rows[: len(cases)]:
            rows += overhead(row["case"], row["ours"], options.repeats)
        rows += percentiles(RESNET18_WEIGHTS, options.repeats)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print(json.dumps({"rows": rows, "peak_rss_mb": round(peak_mb, 1)}))
        return
    for row in rows:
        print(f"{row['case']:<36} ours {row['ours']:.4f}  {row['peer_name']} {row['peer']:.4f} s  {row['ratio']:.3f}x")
    print(f"peak memory of all three together: {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
