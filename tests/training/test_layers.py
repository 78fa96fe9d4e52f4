"""Laws of every layer's forward and backward pass.

Expected values come from outside the training code: SciPy's correlation, the inference pass of ``accelsim.network``,
finite differences, and for linear layers the identity <dy, A x> = <A^T dy, x>, which float32 meets to its own accuracy.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from accelsim.arrays import Array
from accelsim.network.forward import forward
from accelsim.network.graph import INPUT, Graph, Network, Node
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)
from accelsim.training.compiled import CompiledNetwork, Execution, Learning
from tests.laws import law
from tests.training import foreign

FEW = law(25)


def chain(shape: tuple[int, int, int], *layers: Layer) -> Graph:
    """A graph that applies the layers one after the other."""
    nodes, last = [], INPUT
    for i, layer in enumerate(layers):
        nodes.append(Node(name=f"n{i}", layer=layer, inputs=(last,)))
        last = f"n{i}"
    return Graph(name="chain", input_shape=shape, nodes=tuple(nodes))


def random_arrays(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    """Random parameters; variances and scales stay away from zero."""
    arrays = {}
    for name, shape in graph.parameters.items():
        values = rng.standard_normal(shape)
        arrays[name] = (1 + values**2 if name.endswith("running_var") else values).astype(np.float32)
    return arrays


class Lab:
    """One network, one batch: its output for given inputs, and the gradients of <dy, output>."""

    def __init__(self, graph: Graph, batch: int, seed: int = 0, training: bool = True, **options: int):
        # An identity in front makes the network keep the gradient of the input.
        first = Node(name="x", layer=Affine(channels=graph.input_shape[-1]), inputs=(INPUT,))
        nodes = [
            Node(name=n.name, layer=n.layer, inputs=tuple("x" if s == INPUT else s for s in n.inputs))
            for n in graph.nodes
        ]
        self.graph = Graph(name=graph.name, input_shape=graph.input_shape, nodes=(first, *nodes))
        self.rng = np.random.default_rng(seed)
        self.arrays = random_arrays(self.graph, self.rng)
        C = graph.input_shape[-1]
        self.arrays["x.weight"], self.arrays["x.bias"] = np.ones(C, np.float32), np.zeros(C, np.float32)
        self.gradients = {name: np.zeros_like(a) for name, a in self.arrays.items() if "running" not in name}
        self.compiled = CompiledNetwork(
            self.graph,
            self.arrays,
            batch,
            learning=Learning(gradients=self.gradients, training=training),
            execution=Execution(**options),
        )
        self.x = self.rng.standard_normal((batch, *graph.input_shape)).astype(np.float32)

    def run(self, x: Array | None = None) -> Array:
        return self.compiled.forward(self.x if x is None else x).copy()

    def backward(self, dy: Array) -> Array:
        """Gradients into ``gradients``; returns that of the input (N, H, W, C)."""
        self.compiled.backward(dy)
        last = [name for name, _ in self.compiled._backward][-2]  # the node after the identity
        dx = self.compiled.ops["x"].dy
        assert last in self.compiled.ops
        return dx.transpose(0, 4, 2, 3, 1).reshape(self.x.shape)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Graph, int]:
    groups = draw(st.sampled_from([1, 1, 2]))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    layer = Conv(
        in_channels=groups * draw(st.integers(1, 3)),
        out_channels=groups * draw(st.integers(1, 3)),
        kernel=kernel,
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        padding=(draw(st.integers(0, 3)), draw(st.integers(0, 3))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )
    spans = [d * (k - 1) + 1 for d, k in zip(layer.dilation, kernel, strict=True)]
    H, W = (draw(st.integers(max(1, s - 2 * p), s + 5)) for s, p in zip(spans, layer.padding, strict=True))
    return chain((H, W, layer.in_channels), layer), draw(st.integers(1, 5))


@FEW
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_is_scipys_correlation(case: tuple[Graph, int], seed: int) -> None:
    graph, batch = case
    lab = Lab(graph, batch, seed, block=2)
    layer, w = graph.nodes[0].layer, lab.arrays["n0.weight"]
    assert isinstance(layer, Conv)
    spread = np.zeros(
        (*w.shape[:2], *(d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel, strict=True))), np.float32
    )
    spread[:, :, :: layer.dilation[0], :: layer.dilation[1]] = w
    padded = np.pad(lab.x, ((0, 0), *((p, p) for p in layer.padding), (0, 0)))
    C_g, K_g = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    expected = np.stack(
        [
            correlate(padded[..., k // K_g * C_g :][..., :C_g], spread[k].transpose(1, 2, 0)[None], "valid")[..., 0]
            for k in range(layer.out_channels)
        ],
        axis=-1,
    )[:, :: layer.stride[0], :: layer.stride[1]]
    if layer.bias:
        expected = expected + lab.arrays["n0.bias"]
    np.testing.assert_allclose(lab.run(), expected, atol=1e-4, rtol=1e-4)


@FEW
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_convolution_gradients_are_its_transposes(case: tuple[Graph, int], seed: int) -> None:
    graph, batch = case
    lab = Lab(graph, batch, seed, block=2)
    if graph.nodes[0].layer.bias:  # type: ignore[union-attr]
        lab.arrays["n0.bias"][...] = 0
    y = lab.run()
    dy = lab.rng.standard_normal(y.shape).astype(np.float32)
    dx = lab.backward(dy)
    size = float(np.linalg.norm(dy) * np.linalg.norm(y)) + 1
    inner = float(np.vdot(dy, y))
    assert abs(float(np.vdot(dx, lab.x)) - inner) < 1e-5 * size
    assert abs(float(np.vdot(lab.gradients["n0.weight"], lab.arrays["n0.weight"])) - inner) < 1e-5 * size
    if "n0.bias" in lab.gradients:
        np.testing.assert_allclose(lab.gradients["n0.bias"], dy.sum(axis=(0, 1, 2)), atol=1e-3)


LINEAR = {
    "linear": ((1, 1, 5), (Flatten(), Linear(in_features=5, out_features=3, bias=False))),
    "average_pool": ((7, 6, 2), (AveragePool(kernel=(3, 2), stride=(2, 1), padding=(1, 1)),)),
    "average_pool_ceil": ((8, 8, 1), (AveragePool(kernel=(3, 3), stride=(2, 2), ceil_mode=True),)),
    "global_average_pool": ((4, 5, 3), (GlobalAveragePool(),)),
    "pad_channels": ((3, 3, 2), (PadChannels(before=1, after=2),)),
    "flatten": ((3, 4, 2), (Flatten(),)),
    "subsample": ((7, 8, 2), (MaxPool(kernel=(1, 1), stride=(2, 2)),)),
}


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("batch", [1, 6])
def test_linear_layers_gradient_is_the_transpose(name: str, batch: int) -> None:
    lab = Lab(chain(LINEAR[name][0], *LINEAR[name][1]), batch, block=3)
    y = lab.run()
    dy = lab.rng.standard_normal(y.shape).astype(np.float32)
    assert float(np.vdot(lab.backward(dy), lab.x)) == pytest.approx(float(np.vdot(dy, y)), rel=1e-4, abs=1e-4)


GRAPHS = {
    "max_pool": chain((7, 8, 2), MaxPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1))),
    "max_pool_ceil": chain((8, 7, 2), MaxPool(kernel=(3, 2), stride=(2, 2), ceil_mode=True)),
    "relu": chain((4, 4, 3), Relu()),
    "batch_norm": chain((4, 3, 3), BatchNorm(channels=3)),
    "batch_norm_relu": chain((4, 3, 3), BatchNorm(channels=3), Relu()),
    "affine": chain((4, 3, 3), Affine(channels=3)),
    "local_response_norm": chain((3, 3, 7), LocalResponseNorm(size=5, alpha=0.5, beta=0.75, k=2.0)),
    "linear": chain((2, 3, 2), Flatten(), Linear(in_features=12, out_features=4)),
    "add_relu": Graph(
        name="residual",
        input_shape=(4, 4, 2),
        nodes=(
            Node(name="n0", layer=Conv(in_channels=2, out_channels=2, kernel=(3, 3), padding=(1, 1)), inputs=(INPUT,)),
            Node(name="n1", layer=BatchNorm(channels=2), inputs=("n0",)),
            Node(name="n2", layer=Add(), inputs=("n1", INPUT)),
            Node(name="n3", layer=Relu(), inputs=("n2",)),
            Node(name="n4", layer=Add(), inputs=("n3", "n0", "n3")),
        ),
    ),
    "concat": Graph(
        name="fork",
        input_shape=(4, 4, 2),
        nodes=(
            Node(name="n0", layer=Conv(in_channels=2, out_channels=3, kernel=(1, 1), bias=True), inputs=(INPUT,)),
            Node(name="n1", layer=Concat(), inputs=("n0", INPUT)),
        ),
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (6, 2)])
def test_gradients_are_finite_differences(name: str, batch: int, workers: int) -> None:
    lab = Lab(GRAPHS[name], batch, seed=3, block=3, workers=workers)
    # All values differ by 0.02 and none is zero, so that a small step changes no maximum and no sign.
    order = lab.rng.permutation(lab.x.size).reshape(lab.x.shape)
    lab.x[...] = 0.02 * (order - lab.x.size // 2 + 0.5)
    y = lab.run()
    dy = lab.rng.standard_normal(y.shape).astype(np.float32)
    dx = lab.backward(dy).copy()
    gradients = {name: gradient.copy() for name, gradient in lab.gradients.items() if not name.startswith("x.")}

    def change(array: Array, direction: Array, step: float) -> float:
        old, values = array.copy(), []
        for sign in (1, -1):
            array[...] = old + np.float32(sign * step) * direction
            values.append(float(np.vdot(lab.run().astype(np.float64), dy)))
        array[...] = old
        return (values[0] - values[1]) / (2 * step)

    for array, gradient in [(lab.x, dx), *((lab.arrays[n], g) for n, g in gradients.items())]:
        direction = lab.rng.standard_normal(array.shape).astype(np.float32)
        expected = float(np.vdot(gradient, direction))
        scale = float(np.linalg.norm(gradient) * np.linalg.norm(direction)) + 0.1
        assert abs(change(array, direction, 1e-3) - expected) < 1e-2 * scale


@pytest.mark.parametrize("name", GRAPHS)
def test_inference_equals_the_networks_forward_pass(name: str) -> None:
    lab = Lab(GRAPHS[name], 4, training=False)
    expected = forward(Network(lab.graph, lab.arrays), lab.x)
    np.testing.assert_allclose(lab.run(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [*GRAPHS, *LINEAR])
def test_another_array_module_computes_the_same(name: str) -> None:
    graph = GRAPHS[name] if name in GRAPHS else chain(LINEAR[name][0], *LINEAR[name][1])
    lab = Lab(graph, 4, block=2)
    expected = lab.run()
    lab.backward(np.ones_like(expected))
    xp = foreign.module
    arrays = {key: xp.asarray(array) for key, array in Lab(graph, 4, block=2).arrays.items()}
    gradients = {key: xp.zeros_like(arrays[key]) for key in lab.gradients}
    compiled = CompiledNetwork(
        lab.graph,
        arrays,
        4,
        learning=Learning(gradients=gradients, training=True),
        execution=Execution(block=2, xp=xp),
    )
    y = compiled.forward(lab.x)
    np.testing.assert_array_equal(y.get(), expected)
    compiled.backward(xp.ones_like(y))
    for key, gradient in lab.gradients.items():
        np.testing.assert_array_equal(gradients[key].get(), gradient, err_msg=key)


def test_running_statistics_follow_the_batches() -> None:
    """PyTorch's rule: running <- 0.9 running + 0.1 (mean, unbiased variance)."""
    lab = Lab(GRAPHS["batch_norm"], 5, seed=1)
    before = {key: lab.arrays[f"n0.{key}"].copy() for key in ("running_mean", "running_var")}
    lab.run()
    flat = lab.x.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(
        lab.arrays["n0.running_mean"], 0.9 * before["running_mean"] + 0.1 * flat.mean(axis=0), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        lab.arrays["n0.running_var"], 0.9 * before["running_var"] + 0.1 * flat.var(axis=0, ddof=1), rtol=1e-5
    )


def test_normalised_output_has_the_wanted_mean_and_spread() -> None:
    lab = Lab(GRAPHS["batch_norm"], 6)
    y = lab.run().reshape(-1, 3)
    np.testing.assert_allclose(y.mean(axis=0), lab.arrays["n0.bias"], atol=1e-5)
    np.testing.assert_allclose(y.std(axis=0), abs(lab.arrays["n0.weight"]), rtol=1e-3)


@pytest.mark.parametrize(("workers", "block"), [(1, 2), (2, 2), (3, 4), (2, 1)])
def test_threads_do_not_change_a_bit(workers: int, block: int) -> None:
    results = []
    for threads in (1, workers):
        lab = Lab(GRAPHS["add_relu"], 8, workers=threads, block=block)
        y = lab.run()
        lab.backward(np.ones_like(y))
        results.append((y, {name: gradient.copy() for name, gradient in lab.gradients.items()}))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        np.testing.assert_array_equal(gradient, results[1][1][name])


def test_a_layer_that_overflows_is_named() -> None:
    from accelsim.errors import NumericalError

    lab = Lab(GRAPHS["linear"], 2)
    lab.arrays["n1.weight"][0, 0] = np.nan
    lab.run()
    with pytest.raises(NumericalError, match="layer n1"):
        lab.compiled.check_finite()
