"""A compiled network's life, and the node inside that a loss may read, too."""

import gc
import weakref

import numpy as np
import pytest

from accelsim.arrays import Array
from accelsim.network.graph import Graph
from accelsim.network.zoo import named_graph
from accelsim.training.compiled import CompiledNetwork, Execution, Learning
from accelsim.training.first_weights import initial_arrays


def test_a_closed_network_frees_its_buffers_at_once():
    graph = named_graph("resnet20-cifar10")
    gc.collect()
    gc.disable()  # reference counts alone must free it
    try:
        compiled = CompiledNetwork(graph, initial_arrays(graph, 0), 4)
        compiled.forward(np.zeros((4, *graph.input_shape), np.float32))
        buffers = [weakref.ref(compiled), weakref.ref(compiled.ops["layer1.0.conv1"])]
        compiled.close()
        del compiled
        assert [buffer() for buffer in buffers] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("hint", ["layer1.0.bn2", "layer3.1.add", "layer3.2.relu2", "pool"])
def test_a_hint_is_a_second_output_and_gradients_add_up(hint: str) -> None:
    graph = named_graph("resnet20-cifar10")
    arrays = initial_arrays(graph, 0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, *graph.input_shape)).astype(np.float32)
    cut = [node.name for node in graph.nodes].index(hint) + 1
    inner = graph.model_copy(update={"nodes": graph.nodes[:cut]})

    def lab(part: Graph, hint: str | None = None) -> tuple[CompiledNetwork, dict[str, Array]]:
        gradients = {name: np.zeros_like(a) for name, a in arrays.items() if "running" not in name}
        own = {name: gradients[name] for name in gradients if name in part.parameters}
        own_arrays = {name: arrays[name].copy() for name in part.parameters}
        return CompiledNetwork(
            part,
            own_arrays,
            6,
            learning=Learning(gradients=own, training=True, hint=hint),
            execution=Execution(block=2),
        ), gradients

    (whole, from_output), (first, from_hint), (both, together) = lab(graph), lab(inner), lab(graph, hint)
    y = both.forward(x)
    np.testing.assert_allclose(y, whole.forward(x), rtol=1e-5, atol=1e-6)
    h = first.forward(x)
    np.testing.assert_allclose(both.hinted(), h, rtol=1e-5, atol=1e-6)
    dy, d_hint = (rng.standard_normal(part.shape).astype(np.float32) for part in (y, h))
    whole.backward(dy)
    first.backward(d_hint)
    both.backward(dy, d_hint)
    for name, gradient in together.items():
        expected = from_output[name] + from_hint[name]
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
