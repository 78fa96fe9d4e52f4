"""Both float datapaths compute the decoded network, and ``validate`` says so in the promised words."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.datapath import Datapath, run_spatial, run_winograd, validate
from accelsim.dual.model import DualModel
from accelsim.errors import InputError, NumericalError
from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.images import LabelledImages
from accelsim.network.layers import Conv, Flatten, GlobalAveragePool, Linear, MaxPool, Relu
from accelsim.transforms.winograd import transform_filters
from tests.laws import law

SPATIAL, WINOGRAD = Datapath("array", "spatial"), Datapath("wino", "winograd")


def model_of(graph, seed=0, density=0.3, threshold=0.0, m=2, **facts):
    """A model with random pruned weights, Winograd on every 3 x 3 convolution at stride 1."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in graph.parameters.items():
        values = rng.standard_normal(shape).astype(np.float32)
        arrays[name] = values * (rng.random(shape) < density) if len(shape) == 4 else values
    tiles = {
        node.name: m
        for node in graph.nodes
        if isinstance(node.layer, Conv) and node.layer.kernel == (3, 3) and node.layer.stride == (1, 1)
    }
    return DualModel(Network(graph, arrays), tiles, threshold, **facts)


def classifier(size=(9, 11)):
    """Convolutions of every kind the datapaths tell apart, and four classes."""
    nodes = (
        Node(
            name="c1",
            layer=Conv(in_channels=3, out_channels=8, kernel=(3, 3), padding=(1, 1), bias=True),
            inputs=(INPUT,),
        ),
        Node(name="r1", layer=Relu(), inputs=("c1",)),
        Node(
            name="c2",
            layer=Conv(in_channels=8, out_channels=6, kernel=(3, 3), padding=(1, 1), groups=2),
            inputs=("r1",),
        ),
        Node(
            name="c3",
            layer=Conv(in_channels=6, out_channels=6, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
            inputs=("c2",),
        ),
        Node(name="p", layer=MaxPool(kernel=(2, 2), stride=(2, 2)), inputs=("c3",)),
        Node(name="c4", layer=Conv(in_channels=6, out_channels=5, kernel=(1, 1)), inputs=("p",)),
        Node(name="g", layer=GlobalAveragePool(), inputs=("c4",)),
        Node(name="f", layer=Flatten(), inputs=("g",)),
        Node(name="fc", layer=Linear(in_features=5, out_features=4), inputs=("f",)),
    )
    return Graph(name="small", input_shape=(*size, 3), nodes=nodes)


def pictures(images=20, seed=1, size=(9, 11), reference=None):
    rng = np.random.default_rng(seed)
    return LabelledImages(
        rng.integers(0, 256, (images, *size, 3), dtype=np.uint8), rng.integers(0, 4, images), reference
    )


@st.composite
def convolutions(draw):
    groups, C_g, K_g = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    R, S = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    layer = Conv(
        in_channels=groups * C_g,
        out_channels=groups * K_g,
        kernel=(R, S),
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )
    shape = (draw(st.integers(9, 12)), draw(st.integers(9, 12)), groups * C_g)
    return Graph(name="one", input_shape=shape, nodes=(Node(name="c", layer=layer, inputs=(INPUT,)),))


@law(80)
@given(convolutions(), st.floats(0, 1), st.integers(0, 1000))
def test_skipping_zero_weights_changes_nothing_but_rounding(graph, density, seed):
    model = model_of(graph, seed, density)
    x = np.random.default_rng(seed).standard_normal((2, *graph.input_shape)).astype(np.float32)
    plain = forward(model.network, x)
    magnitude = {k: np.abs(v) for k, v in model.network.arrays.items()}
    weight = magnitude["c.weight"]
    bound = (
        2 * (weight[0].size + 1) * 2.0**-24 * forward(Network(graph, magnitude), np.abs(x))
    )  # Higham's gamma_k twice
    assert (np.abs(run_spatial(model, x) - plain) <= bound * 1.01).all()


def test_large_layers_run_in_blocks():
    layer = Conv(in_channels=40, out_channels=3, kernel=(5, 5), padding=(2, 2))
    graph = Graph(name="large", input_shape=(40, 50, 40), nodes=(Node(name="c", layer=layer, inputs=(INPUT,)),))
    model = model_of(graph, density=0.1)
    x = np.random.default_rng(2).standard_normal((2, 40, 50, 40)).astype(np.float32)
    np.testing.assert_allclose(run_spatial(model, x), forward(model.network, x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("m", [None, 2, 3, 4])
def test_winograd_without_pruning_is_the_same_network(m):
    model = model_of(classifier())
    x = np.random.default_rng(3).standard_normal((3, 9, 11, 3)).astype(np.float32)
    np.testing.assert_allclose(run_winograd(model, x, m=m), forward(model.network, x), rtol=0, atol=1e-3)


def test_the_threshold_prunes_in_the_winograd_domain():
    """A threshold above every |W| leaves bias alone; one in between is applied to each filter of its own group."""
    model = model_of(classifier(), threshold=0.4)
    x = np.random.default_rng(4).standard_normal((2, 9, 11, 3)).astype(np.float32)
    assert np.abs(run_winograd(model, x) - forward(model.network, x)).max() > 1e-2
    nothing = dict(model.network.arrays) | {
        f"{c}.weight": 0 * model.network.arrays[f"{c}.weight"] for c in ("c1", "c2")
    }
    largest = max(np.abs(transform_filters(model.network.arrays[f"{c}.weight"], 2)).max() for c in ("c1", "c2"))
    pruned = run_winograd(model, x, threshold=float(largest) * 1.001)
    np.testing.assert_allclose(pruned, forward(Network(model.network.graph, nothing), x), rtol=0, atol=1e-5)


def test_the_json_contract():
    reference = np.arange(20) % 4
    validation = validate(model_of(classifier()), [SPATIAL, WINOGRAD], pictures(reference=reference))
    said = json.loads(json.dumps(validation.to_dict()))
    assert list(said) == ["images", "reference_top1", "machines", "served_by_both"]
    keys = ["machine", "top1", "loss_points", "loss_standard_error", "agreement", "max_abs_error"]
    assert [list(machine) for machine in said["machines"]] == [keys] * 2
    assert [machine["machine"] for machine in said["machines"]] == ["array", "wino"]
    assert said["images"] == 20


def test_figures_are_those_counted_by_hand():
    model, images = model_of(classifier(), threshold=0.5), pictures(images=120)  # more than one batch
    dense = Network(model.network.graph, {k: v + 0.01 for k, v in model.network.arrays.items()})
    x = model.network.graph.preprocessing.apply(images.pixels)
    plain, wino, dense_answers = forward(model.network, x), run_winograd(model, x), forward(dense, x).argmax(1)
    validation = validate(model, [SPATIAL, WINOGRAD], images, reference=dense)
    spatial, winograd = validation.machines
    assert validation.reference_top1 == pytest.approx(100 * np.mean(dense_answers == images.labels))
    assert spatial.top1 == pytest.approx(100 * np.mean(plain.argmax(1) == images.labels))
    assert winograd.top1 == pytest.approx(100 * np.mean(wino.argmax(1) == images.labels))
    assert winograd.agreement == pytest.approx(100 * np.mean(wino.argmax(1) == dense_answers))
    assert winograd.max_abs_error == pytest.approx(np.abs(wino - plain).max(), rel=1e-3)
    assert 0 < spatial.max_abs_error < 1e-3 < winograd.max_abs_error


def test_a_reference_that_overflows_is_not_taken_for_the_model():
    model = model_of(classifier())
    dense = Network(model.network.graph, {k: v + 1e30 for k, v in model.network.arrays.items()})
    with pytest.raises(NumericalError, match=r"^the reference, .* are no finite numbers"):
        validate(model, [SPATIAL], pictures(), reference=dense)


def test_served_by_both_needs_both_kinds_and_the_accuracy():
    model = model_of(classifier())
    images = pictures(images=60)
    right = forward(model.network, model.network.graph.preprocessing.apply(images.pixels)).argmax(1)
    images = LabelledImages(images.pixels, right, right)  # an uncompressed network that is always right
    assert validate(model, [SPATIAL, WINOGRAD], images).served_by_both
    assert not validate(model, [SPATIAL], images).served_by_both
    assert not validate(model, [WINOGRAD], images).served_by_both
    collapsed = Datapath("pruned", "winograd", threshold=1e6)
    validation = validate(model, [SPATIAL, WINOGRAD, collapsed], images)
    assert not validation.served_by_both
    assert validation.machines[2].top1 < 90
    assert validate(model, [SPATIAL, WINOGRAD, collapsed], images, tolerance_points=100).served_by_both


def test_a_loss_counts_against_the_file_once_the_images_are_enough_to_show_it():
    """The same share of lost answers: on few images it may be chance, on many it is not (McNemar's setting)."""
    model = model_of(classifier())
    verdicts = []
    for copies in (1, 40):
        images = pictures(images=25)
        right = forward(model.network, model.network.graph.preprocessing.apply(images.pixels)).argmax(1)
        pixels, right = np.tile(images.pixels, (copies, 1, 1, 1)), np.tile(right, copies)
        labels = right.copy()
        labels[::25] = (labels[::25] + 1) % 4  # the file is wrong on 4 %, the uncompressed network never
        validation = validate(model, [SPATIAL, WINOGRAD], LabelledImages(pixels, labels, labels))
        for machine in validation.machines:
            assert machine.loss_points == pytest.approx(4.0)
            assert machine.loss_standard_error == pytest.approx(100 * np.sqrt(0.04 * 0.96 / (25 * copies)))
        verdicts.append(validation.served_by_both)
    assert verdicts == [True, False]


def test_one_image_gives_no_verdict():
    """A mean of one has no standard error: neither a yes nor a no is shown."""
    model = model_of(classifier())
    image = pictures(images=1)
    right = forward(model.network, model.network.graph.preprocessing.apply(image.pixels)).argmax(1)
    for labels in (right, (right + 1) % 4):
        validation = validate(model, [SPATIAL, WINOGRAD], LabelledImages(image.pixels, labels, right))
        assert validation.served_by_both is None
        assert [machine.loss_standard_error for machine in validation.machines] == [None, None]
        assert not validate(model, [SPATIAL], LabelledImages(image.pixels, labels, right)).served_by_both


def test_an_unknown_reference_is_not_made_up():
    model = model_of(classifier(), accuracy={"top1_reference": 91.5})
    validation = validate(model, [SPATIAL], pictures())
    assert validation.reference_top1 == 91.5
    assert validation.machines[0].agreement is None
    assert validate(model_of(classifier()), [SPATIAL], pictures()).reference_top1 is None


@pytest.mark.parametrize(
    ("datapaths", "images", "message"),
    [
        ([], pictures(), "no machine to validate"),
        ([SPATIAL], pictures(size=(9, 12)), r"images of \(9, 12, 3\), small expects \(9, 11, 3\)"),
        ([SPATIAL], LabelledImages(pictures().pixels, np.full(20, 4)), "label 4, small has the classes 0 to 3"),
    ],
)
def test_what_does_not_fit_is_named(datapaths, images, message):
    with pytest.raises(InputError, match=message):
        validate(model_of(classifier()), datapaths, images)


def test_a_network_without_classes_is_refused():
    layer = Conv(in_channels=3, out_channels=1, kernel=(3, 3), padding=(1, 1))
    graph = Graph(name="sr", input_shape=(9, 11, 3), nodes=(Node(name="c", layer=layer, inputs=(INPUT,)),))
    with pytest.raises(InputError, match="expected a classifier"):
        validate(model_of(graph), [SPATIAL], pictures())
