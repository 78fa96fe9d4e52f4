"""Each layer's forward pass against scipy, written-out loops and closed forms; and the pass over a whole graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.forward import apply_layer, convolve
from accelsim.network.layers import (
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)
from tests.laws import law


def run(layer, *inputs, **parameters):
    return apply_layer(Node(name="n", layer=layer, inputs=(INPUT,)), inputs, parameters)


def scipy_conv(x, w, layer):
    """Correlation by scipy in float64: filters with zeros between their taps, every stride-th output."""
    K, C_g, R, S = w.shape
    (s_h, s_w), (d_h, d_w), (p_h, p_w) = layer.stride, layer.dilation, layer.padding
    spread = np.zeros((K, C_g, (R - 1) * d_h + 1, (S - 1) * d_w + 1))
    spread[:, :, ::d_h, ::d_w] = w
    padded = np.pad(x.astype(np.float64), ((0, 0), (p_h, p_h), (p_w, p_w), (0, 0)))
    out = []
    for image in padded:
        maps = []
        for k, f in enumerate(spread):
            g = k // (K // layer.groups)
            part = image[:, :, g * C_g : (g + 1) * C_g]
            maps.append(correlate(part, f.transpose(1, 2, 0), mode="valid", method="direct")[::s_h, ::s_w, 0])
        out.append(np.stack(maps, axis=-1))
    return np.stack(out)


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, stride = draw(st.tuples(*[st.integers(1, 5)] * 2)), draw(st.tuples(*[st.integers(1, 3)] * 2))
    dilation, padding = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(0, 3)] * 2))
    C_g, K_g = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layer = Conv(
        in_channels=groups * C_g,
        out_channels=groups * K_g,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
    )
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    H, W = (draw(st.integers(size, size + 6)) for size in least)
    return layer, (draw(st.integers(1, 3)), H, W, groups * C_g), draw(st.integers(0, 2**32 - 1))


def conv_arrays(layer, shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    return x, rng.standard_normal(layer.parameters()["weight"]).astype(np.float32)


@law(200)
@given(convolutions())
def test_convolution_equals_scipy(problem):
    layer, shape, seed = problem
    x, w = conv_arrays(layer, shape, seed)
    bias = np.arange(layer.out_channels, dtype=np.float32) if layer.bias else None
    y = convolve(x, w, layer, bias)
    assert y.shape[1:] == layer.output_shape((shape[1:],))
    exact = scipy_conv(x, w, layer) + (0 if bias is None else bias)
    roundings = w[0].size + 1  # gamma_k of a dot product and a bias, Higham section 3.1
    bound = roundings * 2.0**-23 * (scipy_conv(np.abs(x), np.abs(w), layer) + (0 if bias is None else bias))
    assert (np.abs(y - exact) <= bound).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(in_channels=24, out_channels=8, kernel=(3, 3), padding=(1, 1)), (2, 90, 70, 24)),  # rows in blocks
        (Conv(in_channels=24, out_channels=8, kernel=(7, 7), stride=(2, 2), padding=(3, 3)), (1, 95, 90, 24)),
        (Conv(in_channels=2, out_channels=4, kernel=(3, 3), padding=(1, 1)), (300, 9, 8, 2)),  # images in blocks
        (
            Conv(in_channels=24, out_channels=24, kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=24),
            (2, 20, 17, 24),
        ),
        (Conv(in_channels=6, out_channels=9, kernel=(1, 1), stride=(2, 3)), (4, 9, 8, 6)),
    ],
)
def test_convolution_in_blocks_equals_scipy(layer, shape):
    x, w = conv_arrays(layer, shape, 1)
    np.testing.assert_allclose(convolve(x, w, layer), scipy_conv(x, w, layer), rtol=0, atol=1e-3)


def test_convolution_leaves_its_input_and_takes_views():
    layer = Conv(in_channels=3, out_channels=2, kernel=(3, 3))
    x, w = conv_arrays(layer, (2, 3, 8, 9), 2)
    before, view = x.copy(), x.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(convolve(view, w, layer), scipy_conv(view, w, layer), rtol=0, atol=1e-4)
    assert (x == before).all()


def pool_by_hand(x, layer, reduce):
    """One window after the other; ``reduce(values inside the image, elements of padding inside the window)``."""
    P, Q, C = layer.output_shape((x.shape[1:],))
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = layer.kernel, layer.stride, layer.padding
    H, W = x.shape[1:3]
    y = np.empty((len(x), P, Q, C))
    for p in range(P):
        for q in range(Q):
            top, left = p * s_h - p_h, q * s_w - p_w
            bottom, right = min(top + k_h, H + p_h), min(left + k_w, W + p_w)
            inside = x[:, max(top, 0) : min(bottom, H), max(left, 0) : min(right, W)].astype(np.float64)
            y[:, p, q] = reduce(inside, (bottom - top) * (right - left))
    return y


@st.composite
def pools(draw):
    kernel, stride = draw(st.tuples(*[st.integers(1, 4)] * 2)), draw(st.tuples(*[st.integers(1, 4)] * 2))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    shape = (2, *(draw(st.integers(k, k + 7)) for k in kernel), 3)
    return {"kernel": kernel, "stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}, shape


@law(100)
@given(pools())
def test_pools_equal_windows_by_hand(problem):
    settings_, shape = problem
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    largest = run(MaxPool(**settings_), x)
    assert (largest == pool_by_hand(x, MaxPool(**settings_), lambda v, _: v.max(axis=(1, 2)))).all()
    mean = run(AveragePool(**settings_), x)
    expected = pool_by_hand(x, AveragePool(**settings_), lambda v, n: v.sum(axis=(1, 2)) / n)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-5)


def test_ceil_mode_counts_padding_but_not_the_overhang():
    """PyTorch's AvgPool2d(3, 2, padding=1, ceil_mode=True) of ones(1, 1, 4, 4): windows of 9, the last of 6 and 4."""
    layer = AveragePool(kernel=(3, 3), stride=(2, 2), padding=(1, 1), ceil_mode=True)
    y = run(layer, np.ones((1, 4, 4, 1), np.float32))[0, :, :, 0]
    np.testing.assert_allclose(y, [[4 / 9, 6 / 9, 2 / 6], [6 / 9, 1, 3 / 6], [2 / 6, 3 / 6, 1 / 4]], rtol=1e-6)


def test_elementwise_layers_are_their_formulas():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    assert (run(Relu(), x) == np.where(x > 0, x, 0)).all()
    weight, bias, mean = (rng.standard_normal(6).astype(np.float32) for _ in range(3))
    var = rng.uniform(0.1, 2, 6).astype(np.float32)
    y = run(BatchNorm(channels=6, eps=1e-3), x, weight=weight, bias=bias, running_mean=mean, running_var=var)
    expected = (x.astype(float) - mean) / np.sqrt(var.astype(float) + 1e-3) * weight + bias
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(run(Affine(channels=6), x, weight=weight, bias=bias), x * weight + bias, atol=1e-6)
    assert (run(Add(), x, x, x) == x + x + x).all()
    np.testing.assert_allclose(run(GlobalAveragePool(), x), x.astype(float).mean((1, 2), keepdims=True), atol=1e-6)


def test_channels_are_joined_padded_and_flattened_in_order():
    x = np.arange(2 * 2 * 3 * 2, dtype=np.float32).reshape(2, 2, 3, 2)
    joined = run(Concat(), x, -x)
    assert (joined[..., :2] == x).all()
    assert (joined[..., 2:] == -x).all()
    padded = run(PadChannels(before=1, after=2), x)
    assert padded.shape == (2, 2, 3, 5)
    assert (padded[..., 1:3] == x).all()
    assert padded.sum() == x.sum()
    assert run(Flatten(), x)[0].tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]  # channel by channel


def test_linear_is_a_matrix_product():
    rng = np.random.default_rng(6)
    x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((3, 7), (4, 7), (4,)))
    np.testing.assert_allclose(run(Linear(in_features=7, out_features=4), x, weight=w, bias=b), x @ w.T + b, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_local_response_norm_is_its_formula(size):
    """PyTorch's LocalResponseNorm: channels from c - size // 2 to c + (size - 1) // 2, alpha over size."""
    x = np.random.default_rng(7).standard_normal((2, 3, 3, 7)).astype(np.float32)
    layer = LocalResponseNorm(size=size, alpha=0.5, beta=0.75, k=2.0)
    y = run(layer, x)
    for c in range(7):
        near = x[..., max(0, c - size // 2) : c + (size - 1) // 2 + 1].astype(float)
        np.testing.assert_allclose(y[..., c], x[..., c] / (2 + 0.5 / size * (near**2).sum(-1)) ** 0.75, rtol=1e-5)


def branched():
    """A graph in which values are read twice, added to themselves, and flattened."""
    conv = Conv(in_channels=4, out_channels=4, kernel=(3, 3), padding=(1, 1), bias=True)
    nodes = (
        Node(name="relu_in", layer=Relu(), inputs=(INPUT,)),
        Node(name="conv", layer=conv, inputs=("relu_in",)),
        Node(name="affine", layer=Affine(channels=4), inputs=("conv",)),
        Node(name="relu", layer=Relu(), inputs=("affine",)),
        Node(name="again", layer=Relu(), inputs=("conv",)),
        Node(name="double", layer=Add(), inputs=("relu", "relu")),
        Node(name="sum", layer=Add(), inputs=("double", "again", INPUT)),
        Node(name="pool", layer=GlobalAveragePool(), inputs=("sum",)),
        Node(name="flat", layer=Flatten(), inputs=("pool",)),
        Node(name="flat_affine", layer=Affine(channels=4), inputs=("flat",)),
        Node(name="pool_affine", layer=Affine(channels=4), inputs=("pool",)),
        Node(name="flat2", layer=Flatten(), inputs=("pool_affine",)),
        Node(name="out", layer=Add(), inputs=("flat2", "flat_affine")),
    )
    graph = Graph(name="branched", input_shape=(5, 6, 4), nodes=nodes)
    rng = np.random.default_rng(8)
    return Network(graph, {k: rng.standard_normal(s).astype(np.float32) for k, s in graph.parameters.items()})


def test_reusing_memory_changes_nothing():
    """With an observer every value is kept apart; the input stays as it was either way."""
    network = branched()
    x = np.random.default_rng(9).standard_normal((3, 5, 6, 4)).astype(np.float32)
    before, seen = x.copy(), {}
    y = forward(network, x)
    kept = forward(network, x, observe=lambda node, inputs, out: seen.setdefault(node.name, (inputs, out.copy(), out)))
    assert (y == kept).all()
    assert (x == before).all()
    assert all((copy == out).all() for _, copy, out in seen.values())
    assert (seen["double"][1] == 2 * seen["relu"][1]).all()
    assert {name: out.shape[1:] for name, (_, _, out) in seen.items()} == {
        name: shape for name, shape in network.graph.shapes.items() if name != INPUT
    }


def test_another_convolution_can_be_put_in():
    network = branched()
    x = np.random.default_rng(10).standard_normal((2, 5, 6, 4)).astype(np.float32)
    called = []

    def slow(node, x, weight):
        called.append(node.name)
        return scipy_conv(x, weight, node.layer).astype(np.float32)

    np.testing.assert_allclose(forward(network, x, convolution=slow), forward(network, x), rtol=0, atol=1e-4)
    assert called == ["conv"]


def test_a_batch_is_its_images():
    network = branched()
    x = np.random.default_rng(11).standard_normal((4, 5, 6, 4)).astype(np.float32)
    one_by_one = np.concatenate([forward(network, image[None]) for image in x])
    np.testing.assert_allclose(forward(network, x), one_by_one, rtol=0, atol=1e-4)
