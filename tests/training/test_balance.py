"""Rescaled layers: the same function, and one threshold that prunes each layer as its own would."""

import numpy as np

from accelsim.compression.joint import JointRegularizer
from accelsim.network.forward import forward
from accelsim.network.graph import Network
from accelsim.network.layers import Add
from accelsim.network.zoo.builder import Builder
from accelsim.training.balance import balanced, free_links
from accelsim.training.run import initial_arrays


def block() -> Network:
    """A residual block whose second convolution has weights a hundred times larger than the first's."""
    b = Builder("block", (12, 12, 8))
    x = b.relu("relu0")
    b.conv("first", 8, 3, bias=True)
    b.relu("relu1")
    b.conv("second", 8, 3, bias=True)
    b.add("sum", Add(), b.last, x)
    b.relu("relu2")
    b.conv("last", 8, 3, bias=True)
    graph = b.graph()
    arrays = initial_arrays(graph, 1)
    arrays["first.bias"] = np.linspace(-1, 1, 8, dtype=np.float32)
    arrays["second.weight"] *= 100
    return Network(graph, arrays)


def test_only_what_a_relu_alone_reads_is_free() -> None:
    assert free_links(block().graph) == [("first", ("second",))]


def test_the_function_stays_and_one_threshold_fits_the_pair() -> None:
    network = block()
    regularizer = JointRegularizer(network.graph, {"default": 2}, exclude=["last"])
    arrays = balanced(network, regularizer, 0.6)
    x = np.random.default_rng(2).standard_normal((2, 12, 12, 8)).astype(np.float32)
    y = forward(network, x)
    np.testing.assert_allclose(forward(Network(network.graph, arrays), x), y, atol=1e-4 * np.abs(y).max())

    def shares(candidate: dict[str, np.ndarray]) -> list[float]:
        theta = regularizer.thresholds(candidate, 0.0, 0.6)[1]
        return [float((W == 0).mean()) for W in regularizer.pruned_winograd(candidate, theta).values()]

    before, after = shares(dict(network.arrays)), shares(arrays)
    assert before[0] > 0.95
    np.testing.assert_allclose(after, [0.6, 0.6], atol=0.05)
