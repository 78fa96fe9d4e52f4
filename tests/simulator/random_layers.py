"""Random small layers with random masks, and small machines of both kinds, for the laws of the simulator."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from accelsim.dual.model import DualModel, winograd_eligible
from accelsim.errors import InputError
from accelsim.network import Network
from accelsim.network.zoo import named_graph
from accelsim.simulator.machines.choice import machine_from
from accelsim.simulator.machines.machine import Machine
from accelsim.workload import LayerWork

AnyMachine = Machine
T = TypeVar("T")


def layer(
    K: int = 8, C: int = 6, size: int = 9, kernel: int = 3, *, stride: int = 1, padding: int = 1, dilation: int = 1,
    groups: int = 1, batch: int = 1, density: float = 0.5, input_density: float = 1.0, threshold: float = 0.3,
    seed: int = 0,
) -> LayerWork:  # fmt: skip
    """A convolution of a square image with a random mask; in the Winograd domain where that applies."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((K, C // groups, kernel, kernel)).astype(np.float32)
    weights[rng.random(weights.shape) >= density] = 0
    P = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    assert P > 0
    winograd = stride == 1 and dilation == 1 and kernel > 1
    coded = 50 + 3 * int(np.count_nonzero(weights)) + weights.size // 2
    return LayerWork(
        "layer", "conv", batch, C, size, size, K, P, P, (kernel, kernel), (stride, stride), (padding, padding),
        (dilation, dilation), groups, weights, threshold if winograd else None,
        np.full(C, input_density, np.float32), coded_bits=coded,
    )  # fmt: skip


@st.composite
def layers(draw: st.DrawFn, *, winograd: bool | None = None, density: float | None = None) -> LayerWork:
    """A small layer: grouped, depthwise, strided, dilated, 1 x 1, several images, a fully connected one."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 4]))
    C, K = groups * draw(st.integers(1, 40 // groups)), groups * draw(st.integers(1, 24 // groups))
    kernel = draw(st.integers(2, 5) if winograd else st.integers(1, 5))
    stride, dilation = (1, 1) if winograd else (draw(st.integers(1, 3)), draw(st.integers(1, 2)))
    padding = draw(st.integers(0, kernel // 2))
    least = dilation * (kernel - 1) + 1 - 2 * padding
    size = draw(st.integers(max(1, least), max(1, least) + 11))
    return layer(
        K, C, size, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
        batch=draw(st.integers(1, 3)), density=draw(st.floats(0, 1)) if density is None else density,
        input_density=draw(st.floats(0, 1)), threshold=draw(st.sampled_from([0.0, 0.3, 1.0])),
        seed=draw(st.integers(0, 99)),
    )  # fmt: skip


def spatial(**changes: Any) -> Any:
    """A small machine of a spatial family; keys with dots change a part (``{"pe_array.rows": 4}``)."""
    return machine_from(
        _changed(
            {
                "kind": "spatial", "name": "spatial", "clock_mhz": 500, "node_nm": 28, "energy_table": "horowitz",
                "pe_array": {"rows": 4, "cols": 4}, "buffers": {"weight_kb": 64, "input_kb": 64, "output_kb": 64},
                "dram": {"type": "LPDDR4-3200"},
            },
            changes,
        )
    )  # fmt: skip


def winograd(**changes: Any) -> Any:
    """A small machine of a Winograd family."""
    return machine_from(
        _changed(
            {
                "kind": "winograd", "name": "winograd", "clock_mhz": 500, "node_nm": 28, "tile": 2,
                "energy_table": "horowitz",
                "pe_array": {"rows": 4, "cols": 4, "taps": 1}, "transform_rate": 4, "inverse_rate": 4,
                "buffers": {"weight_kb": 64, "input_kb": 64, "transformed_kb": 64, "output_kb": 64},
                "dram": {"type": "LPDDR4-3200"},
            },
            changes,
        )
    )  # fmt: skip


def changed(machine: AnyMachine, **changes: Any) -> Any:
    """The machine with other values; dots in a key are written as two underscores."""
    return machine_from(_changed(machine.model_dump(), changes))


def _changed(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = data
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return data


def random_model(name: str, density: float = 0.4) -> DualModel:
    """A network of the zoo with random pruned weights."""
    graph, rng = named_graph(name), np.random.default_rng(0)
    arrays = {
        key: (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)
        if len(shape) > 1
        else np.ones(shape, np.float32)
        for key, shape in graph.parameters.items()
    }
    tiles = {node.name: 2 for node in graph.nodes if winograd_eligible(node)}
    return DualModel(Network(graph, arrays), tiles, 0.5)


def where_it_fits(find: Callable[[], T]) -> T:
    """What is found; a layer too large for its machine is no example of a law."""
    try:
        return find()
    except InputError:
        reject()
