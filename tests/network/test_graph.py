"""Shapes of layers and graphs, and what is said when they do not fit."""

import numpy as np
import pytest
from pydantic import ValidationError

from accelsim.network import INPUT, Graph, Network, Node
from accelsim.network.graph import Preprocessing
from accelsim.network.layers import (
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool,
    PadChannels,
    Relu,
)


@pytest.mark.parametrize(
    ("layer", "inputs", "expected"),
    [
        # AlexNet's first layers, as published: 227 -> 55 -> 27 (the 55 x 55 x 96 of Krizhevsky et al.)
        (Conv(in_channels=3, out_channels=96, kernel=(11, 11), stride=(4, 4)), [(227, 227, 3)], (55, 55, 96)),
        (MaxPool(kernel=(3, 3), stride=(2, 2)), [(55, 55, 96)], (27, 27, 96)),
        # ResNet's: 224 -> 112 -> 56
        (
            Conv(in_channels=3, out_channels=64, kernel=(7, 7), stride=(2, 2), padding=(3, 3)),
            [(224,) * 2 + (3,)],
            (112, 112, 64),
        ),
        (MaxPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), [(112, 112, 64)], (56, 56, 64)),
        # GoogLeNet's pools round up: 112 -> 56 -> 28 -> 14 -> 7
        (MaxPool(kernel=(3, 3), stride=(2, 2), ceil_mode=True), [(112, 112, 64)], (56, 56, 64)),
        (MaxPool(kernel=(3, 3), stride=(2, 2), ceil_mode=True), [(14, 14, 832)], (7, 7, 832)),
        # PyTorch drops a window that would start in the right padding
        (AveragePool(kernel=(2, 2), stride=(3, 3), padding=(1, 1), ceil_mode=True), [(4, 4, 1)], (2, 2, 1)),
        (Conv(in_channels=4, out_channels=8, kernel=(3, 1), dilation=(2, 3), groups=4), [(9, 9, 4)], (5, 9, 8)),
        (Concat(), [(4, 5, 3), (4, 5, 7)], (4, 5, 10)),
        (Add(), [(4, 5, 3)] * 3, (4, 5, 3)),
        (PadChannels(before=2, after=3), [(4, 5, 3)], (4, 5, 8)),
        (GlobalAveragePool(), [(4, 5, 3)], (1, 1, 3)),
        (Flatten(), [(4, 5, 3)], (60,)),
        (Linear(in_features=60, out_features=10), [(60,)], (10,)),
    ],
)
def test_output_shapes(layer, inputs, expected):
    assert layer.output_shape(tuple(inputs)) == expected


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (Conv(in_channels=3, out_channels=4, kernel=(3, 3)), [(8, 8, 4)], "expected 3 input channels, got 4"),
        (Conv(in_channels=3, out_channels=4, kernel=(3, 3), groups=2), [(8, 8, 3)], "2 groups do not divide 3 -> 4"),
        (Conv(in_channels=3, out_channels=4, kernel=(9, 9)), [(8, 8, 3)], r"smaller than the \(9, 9\) window"),
        (MaxPool(kernel=(3, 3), stride=(1, 1), padding=(2, 2)), [(8, 8, 3)], "over half the"),
        (Linear(in_features=5, out_features=4), [(6,)], r"expected \(5,\), got \(6,\)"),
        (BatchNorm(channels=5), [(8, 8, 4)], "expected 5 channels, got 4"),
        (Add(), [(8, 8, 4)], "two or more inputs of one shape"),
        (Add(), [(8, 8, 4), (8, 7, 4)], "two or more inputs of one shape"),
        (Concat(), [(8, 8, 4), (8, 7, 4)], "one height and width"),
        (Relu(), [(8, 8, 4), (8, 8, 4)], "expected one input, got 2"),
        (Flatten(), [(8,)], r"expected an image \(H, W, C\), got \(8,\)"),
    ],
)
def test_layers_say_what_does_not_fit(layer, inputs, message):
    with pytest.raises(ValueError, match=message):
        layer.output_shape(tuple(inputs))


def conv_node(name="conv", source=INPUT, **changes):
    settings = {"in_channels": 3, "out_channels": 4, "kernel": (3, 3)} | changes
    return Node(name=name, layer=Conv(**settings), inputs=(source,))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((conv_node(), conv_node()), "node conv: the name is used twice"),
        ((conv_node(name=INPUT),), "node input: the name is used twice"),
        ((conv_node(source="later"),), "node conv: reads 'later', which is no earlier node"),
        ((conv_node(), conv_node("second", "conv")), "node second: expected 3 input channels, got 4"),
    ],
)
def test_graphs_name_the_node_that_is_wrong(nodes, message):
    with pytest.raises(ValidationError, match=message):
        Graph(name="g", input_shape=(8, 8, 3), nodes=nodes)


@pytest.mark.parametrize(
    "change", [{"kernel": (0, 3)}, {"stride": (-1, 1)}, {"padding": (-1, 0)}, {"groups": 0}, {"colour": "red"}]
)
def test_impossible_or_unknown_values_are_refused(change):
    with pytest.raises(ValidationError, match=next(iter(change))):
        conv_node(**change)


def test_a_graph_survives_json():
    graph = Graph(
        name="g", input_shape=(8, 8, 3), nodes=(conv_node(bias=True), Node(name="r", layer=Relu(), inputs=("conv",)))
    )
    assert Graph.model_validate_json(graph.model_dump_json()) == graph
    assert graph.parameters == {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,)}
    assert graph.with_input_shape((10, 12, 3)).shapes["r"] == (8, 10, 4)
    with pytest.raises(ValidationError, match="smaller than"):
        graph.with_input_shape((2, 2, 3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"array 'conv.bias' is missing \(2 in all\)"),
        ({"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "extra": (1,)}, "array 'extra' belongs to no layer"),
        ({"conv.weight": (4, 3, 3, 1), "conv.bias": (4,)}, r"'conv.weight' has shape \(4, 3, 3, 1\), expected"),
    ],
)
def test_networks_say_which_array_is_wrong(arrays, message):
    graph = Graph(name="g", input_shape=(8, 8, 3), nodes=(conv_node(bias=True),))
    with pytest.raises(ValueError, match=message):
        Network(graph, {name: np.zeros(shape, np.float32) for name, shape in arrays.items()})


def test_a_negative_variance_is_refused():
    node = Node(name="bn", layer=BatchNorm(channels=2), inputs=(INPUT,))
    graph = Graph(name="g", input_shape=(8, 8, 2), nodes=(node,))
    arrays = {name: np.ones(2, np.float32) for name in graph.parameters}
    Network(graph, arrays)
    with pytest.raises(ValueError, match=r"'bn\.running_var' holds a negative variance"):
        Network(graph, arrays | {"bn.running_var": np.array([1, -1], np.float32)})


def test_preprocessing_scales_centres_and_orders_channels():
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)
    rgb = Preprocessing(mean=(0.0, 0.1, 0.5), std=(1.0, 0.5, 0.25)).apply(pixels)
    np.testing.assert_allclose(rgb[0, 0, 0], [0, 0.2, 2.0], atol=1e-6)
    bgr = Preprocessing(scale=1, mean=(103.939, 116.779, 123.68), order="bgr").apply(pixels)
    np.testing.assert_allclose(bgr[0, 0, 0], [255 - 103.939, 51 - 116.779, -123.68], rtol=1e-6)
    assert rgb.dtype == bgr.dtype == np.float32
