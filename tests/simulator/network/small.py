"""Small random networks with branches, as layer works and as graphs."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from accelsim.network import INPUT
from accelsim.workload import LayerWork


def conv(name: str, source: tuple[str, ...], C: int, K: int, size: int, kernel: int = 3, **rest: int) -> LayerWork:
    """A convolution with padding that keeps the size, of random half-empty weights."""
    rng = np.random.default_rng(len(name) + 7 * K + C)
    weights = rng.standard_normal((K, C, kernel, kernel)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.5] = 0
    return LayerWork(
        name, "conv", rest.get("batch", 1), C, size, size, K, size, size, (kernel, kernel), (1, 1),
        (kernel // 2, kernel // 2), weights=weights, winograd_threshold=0.3 if kernel > 1 else None,
        input_density=np.full(C, 0.5, np.float32), coded_bits=3 * weights.size, sources=source,
    )  # fmt: skip


def add(name: str, sources: tuple[str, ...], C: int, size: int, batch: int = 1) -> LayerWork:
    """A sum of maps of one shape."""
    return LayerWork(name, "add", batch, C, size, size, C, size, size, inputs=len(sources), sources=sources)


def pool(name: str, source: tuple[str, ...], C: int, size: int, kernel: int, stride: int, batch: int = 1) -> LayerWork:
    """A pooling without padding."""
    P = (size - kernel) // stride + 1
    return LayerWork(
        name, "pool", batch, C, size, size, C, P, P, (kernel, kernel), (stride, stride), sources=source
    )  # fmt: skip


@st.composite
def networks(draw: st.DrawFn, most: int = 4, batch: int = 1, pooled_fans: bool = False) -> tuple[LayerWork, ...]:
    """Chains of convolutions, residual blocks, poolings and fans whose outputs are concatenated; a convolution last.

    pooled_fans: some of the concatenations are pooled.
    """
    C, size = draw(st.sampled_from([3, 8, 16])), draw(st.sampled_from([6, 9, 12]))
    works: list[LayerWork] = []
    at: tuple[str, ...] = (INPUT,)
    for i in range(draw(st.integers(1, most))):
        K = draw(st.sampled_from([4, 8, 16, 20]))
        kind = draw(st.sampled_from(["conv", "conv", "residual", "pool", "fan"]))
        if kind == "residual":
            works.append(conv(f"{i}.in", at, C, K, size, batch=batch))
            works.append(conv(f"{i}.a", (f"{i}.in",), K, K, size, batch=batch))
            works.append(conv(f"{i}.b", (f"{i}.a",), K, K, size, draw(st.sampled_from([1, 3])), batch=batch))
            works.append(add(f"{i}.add", (f"{i}.b", f"{i}.in"), K, size, batch))
            at, C = (f"{i}.add",), K
        elif kind == "fan":
            half = conv(f"{i}.left", at, C, K, size, 1, batch=batch)
            works += [half, conv(f"{i}.right", at, C, K, size, 3, batch=batch)]
            at, C = (f"{i}.left", f"{i}.right"), 2 * K
            if pooled_fans and size >= 2 and draw(st.booleans()):
                works.append(pool(f"{i}.both", at, C, size, 2, 2, batch))
                at, size = (f"{i}.both",), works[-1].out_height
        else:
            works.append(conv(f"{i}.conv", at, C, K, size, draw(st.sampled_from([1, 3])), batch=batch))
            at, C = (f"{i}.conv",), K
            if kind == "pool" and size >= 3:
                kernel, stride = draw(st.sampled_from([(2, 2), (3, 2), (size, size)]))
                works.append(pool(f"{i}.pool", at, C, size, kernel, stride, batch))
                at, size = (f"{i}.pool",), works[-1].out_height
    works.append(conv("last", at, C, 5, size, 1, batch=batch))
    return tuple(works)


def without_wiring(works: tuple[LayerWork, ...]) -> tuple[LayerWork, ...]:
    """The same layers as a list that does not say who reads what."""
    return tuple(replace(work, sources=None) for work in works)
