"""Integer machines: steps against exact sums, the domains against each other, words too narrow, verdicts."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import accelsim
from accelsim import load_hardware
from accelsim.datapath import integer, validate
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.counts import Counts
from accelsim.datapath.execute import run_integers
from accelsim.datapath.program import Calibrated, build
from accelsim.datapath.scales import Histogram, added, change, common_changes, exponent_of, limits
from accelsim.datapath.steps import ProductStep, WinogradStep
from accelsim.datapath.stored import stored
from accelsim.datapath.weights import whole_weights
from accelsim.dual.file import read_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.network import INPUT, Graph, Network, Node, forward
from accelsim.network.images import LabelledImages, read_images, write_images
from accelsim.network.layers import Add, Affine, AveragePool, Concat, Conv, Flatten, GlobalAveragePool, Linear, Relu
from accelsim.transforms.winograd import cook_toom, transformed_bits
from tests.laws import law
from tests.small_dual import write_small

from .test_integer import direct
from .test_validate import classifier, model_of, pictures

MODELS = Path(__file__).parents[2] / "models"


def one_layer(w: np.ndarray, size: tuple[int, int], padding: int) -> DualModel:
    """A model of one convolution, nothing pruned."""
    K, C, R, S = w.shape
    layer = Conv(in_channels=C, out_channels=K, kernel=(R, S), padding=(padding, padding))
    graph = Graph(name="one", input_shape=(*size, C), nodes=(Node(name="c", layer=layer, inputs=(INPUT,)),))
    return DualModel(Network(graph, {"c.weight": w.astype(np.float32)}), {"c": 2}, 0.0)


def sums_of(model: DualModel, datapath: Datapath, x: np.ndarray) -> np.ndarray:
    """What one layer gives for whole-number inputs, in units of 1 and words so wide that nothing is rounded or cut."""
    words = replace(datapath.integers, activation_bits=24, scales="power_of_two")
    program = build(model, replace(datapath, integers=words), Calibrated({INPUT: 1.0, "c": 1.0}))
    return program.steps[0].run([x.astype(np.float32)], Counts())


whole_layers = {
    "seed": st.integers(0, 1 << 30),
    "height": st.integers(3, 11),
    "width": st.integers(3, 11),
    "channels": st.integers(1, 5),
    "filters": st.integers(1, 4),
    "padding": st.integers(0, 1),
}


@law(30)
@given(**whole_layers)
def test_direct_sums_are_the_plain_sums(seed, height, width, channels, filters, padding):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (1, height, width, channels)), rng.integers(-127, 128, (filters, channels, 3, 3))
    y = sums_of(one_layer(w, (height, width), padding), Datapath("array", "spatial"), x)
    assert np.array_equal(y[0], direct(x[0], w, padding))


@law(40)
@given(**whole_layers, m=st.sampled_from([2, 4]), per_tap=st.booleans())
def test_winograd_sums_are_the_references_that_the_register_transfer_model_meets(
    seed, height, width, channels, filters, padding, m, per_tap
):
    """``integer.convolve_winograd`` is what Verilator's outputs are compared with (tests/rtl), bit for bit."""
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (1, height, width, channels)), rng.normal(size=(filters, channels, 3, 3))
    model = replace(one_layer(w, (height, width), padding), winograd_m={"c": m})
    integers = Integers(tap_scales="per_tap" if per_tap else "one", accumulator_bits=32)
    datapath = Datapath("wino", "winograd", m=m, integers=integers)
    step = build(model, datapath, Calibrated({INPUT: 1.0, "c": 1.0})).steps[0]
    assert isinstance(step, WinogradStep)
    n = m + 2
    values = step.taps[0].transpose(2, 1, 0).reshape(filters, channels, n, n).astype(np.int32)
    exact = integer.convolve_winograd(
        x, integer.IntegerFilters(m, values, step.shifts.astype(np.int64)), (3, 3), (padding, padding)
    )
    change_ = step.rescaling.change
    expected = np.floor(exact * change_.factor + 0.5).clip(*limits(8))
    assert np.array_equal(step.run([x.astype(np.float32)], Counts()), expected)


@law(30)
@given(**whole_layers)
def test_unpruned_winograd_sums_are_four_times_the_spatial_ones(seed, height, width, channels, filters, padding):
    """2 G w (2 G)^T is whole, so 12-bit taps hold w exactly: one unit of the taps' sums is a quarter of w's."""
    rng = np.random.default_rng(seed)
    x, w = rng.integers(-128, 128, (1, height, width, channels)), rng.integers(-127, 128, (filters, channels, 3, 3))
    w[0, 0, 0, 0] = 127
    model = one_layer(w, (height, width), padding)
    spatial = sums_of(model, Datapath("array", "spatial"), x)
    words = {"scales": "power_of_two", "weight_scales": "tensor", "tap_scales": "one", "calibration": "max"}
    exact = Integers(12, accumulator_bits=40, **words)
    datapath = Datapath("wino", "winograd", m=2, integers=exact)
    step = build(model, datapath, Calibrated({INPUT: 1.0, "c": 1.0})).steps[0]
    assert isinstance(step, WinogradStep)
    G = np.array([[int(2 * g) for g in row] for row in cook_toom(2, 3).G])
    taps = step.taps[0].transpose(2, 1, 0).reshape(filters, channels, 4, 4)
    factor = float(step.rescaling.change.factor.flat[0])  # the unit of the sums
    assert np.array_equal(taps * (4 * factor), G @ w @ G.T)
    assert np.array_equal(sums_of(model, datapath, x), spatial)


@law(20)
@given(**whole_layers, m=st.sampled_from([2, 4]), share=st.floats(0.1, 0.9))
def test_pruned_sums_differ_by_the_pruned_taps(seed, height, width, channels, filters, padding, m, share):
    """In rational arithmetic: A^T [sum over channels of V times the entries that are gone] A, exactly."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-20, 20, (1, height, width, channels))
    scale = {2: 2, 4: 24}[m]
    w = rng.integers(-3, 4, (filters, channels, 3, 3))
    G, B_T, A_T = (
        np.array([[Fraction(v) for v in row] for row in rows], object)
        for rows in (cook_toom(m, 3).G, cook_toom(m, 3).B_T, cook_toom(m, 3).A_T)
    )
    W = G @ w.astype(object) @ G.T * scale**2  # whole numbers
    pruned = rng.random(W.shape) < share
    n = m + 2
    filters_of = [
        integer.IntegerFilters(m, np.where(gone, 0, W).astype(np.int32), np.zeros((n, n), np.int64))
        for gone in (np.zeros_like(pruned), pruned)
    ]
    whole, part = (integer.convolve_winograd(x, f, (3, 3), (padding, padding))[0] for f in filters_of)
    P, Q = height + 2 * padding - 2, width + 2 * padding - 2
    padded = np.zeros((height + 2 * padding + m, width + 2 * padding + m, channels), object)
    padded[padding : padding + height, padding : padding + width] = x[0]
    for top in range(0, P, m):
        for left in range(0, Q, m):
            V = np.stack([B_T @ padded[top : top + n, left : left + n, c] @ B_T.T for c in range(channels)])
            lost = np.stack(
                [A_T @ (V * np.where(gone, w_, 0)).sum(axis=0) @ A_T.T for gone, w_ in zip(pruned, W, strict=True)]
            )
            rows, cols = min(m, P - top), min(m, Q - left)
            found = (whole - part)[top : top + rows, left : left + cols]
            assert np.array_equal(found, lost[:, :rows, :cols].transpose(1, 2, 0).astype(np.int64))


@law(40)
@given(st.lists(st.integers(-(1 << 22), 1 << 22), min_size=1, max_size=30), st.integers(4, 24))
def test_sums_wrap_around_as_twos_complement_does(values, bits):
    counts = Counts()
    sums = np.array(values, np.float32)
    counts.check_sums(sums, bits, "wrap")
    expected = [((v + (1 << (bits - 1))) % (1 << bits)) - (1 << (bits - 1)) for v in values]
    assert sums.tolist() == expected
    assert counts.overflowed == sum(v != e for v, e in zip(values, expected, strict=True))
    assert counts.largest_sum == max(map(abs, values))


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=20), st.integers(2, 9))
def test_sums_saturate_where_they_are_said_to(values, bits):
    sums = np.array(values, np.float64)
    Counts().check_sums(sums, bits, "saturate")
    assert sums.tolist() == [min(max(v, -(1 << (bits - 1))), (1 << (bits - 1)) - 1) for v in values]


@given(
    st.lists(st.integers(-(1 << 30), 1 << 30), min_size=1, max_size=5),
    st.floats(1e-6, 1e3),
    st.integers(2, 20),
)
def test_a_change_of_units_is_a_whole_multiplication_a_shift_and_one_rounding(values, ratio, bits):
    found = change(ratio, bits)
    M, shift = int(found.multiplier), int(found.shift)
    assert 0 < M <= 1 << bits
    assert abs(Fraction(M) / Fraction(2) ** shift / Fraction(ratio) - 1) <= Fraction(1, 1 << (bits - 1))
    exact = [(v * Fraction(M) / Fraction(2) ** shift + Fraction(1, 2)).__floor__() for v in values]
    assert found.apply(np.array(values, np.float64)).tolist() == exact


@law(100)
@given(st.lists(st.integers(-(1 << 52), 1 << 52), min_size=1, max_size=4), st.floats(2.0**-44, 2.0**-11), st.booleans())
def test_wide_products_are_exact(values, ratio, negative):
    """Up to 2^52 times 16 bits, beyond int64."""
    found = replace(change(-ratio if negative else ratio, 16), wide=True)
    factor = Fraction(int(found.multiplier)) / Fraction(2) ** int(found.shift)
    assert found.apply(np.array(values, np.float64)).tolist() == [
        (v * factor + Fraction(1, 2)).__floor__() for v in values
    ]


@given(st.lists(st.integers(-8, 8), min_size=2, max_size=4))
def test_powers_of_two_are_aligned_by_shifts_alone(exponents):
    found = common_changes([2.0**e for e in exponents], 16, 128)
    assert len({int(change_.shift) for change_ in found}) == 1
    assert all(float(c.factor) == 2.0**e for c, e in zip(found, exponents, strict=True))


@given(st.floats(1e-20, 1e20), st.integers(2, 16))
def test_the_exponent_is_the_least_that_holds(size, bits):
    most = limits(bits)[1]
    e = exponent_of(size, bits)
    assert np.rint(size / 2.0**e) <= most
    assert np.rint(size / 2.0 ** (e - 1)) > most


def test_least_error_leaves_out_what_is_rare_and_percentile_what_it_is_told():
    """One value of 50 among 10,000 of a normal distribution: 4 bits for its sake would round the others to nothing."""
    values = np.append(np.random.default_rng(0).normal(size=10_000), 50.0)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    assert histogram.largest == 50.0
    assert histogram.counts.sum() == values.size
    assert histogram.range(Integers(calibration="max"), 4) == 50.0
    narrow = histogram.range(Integers(calibration="least_error", scales="multiply_shift"), 4)
    assert 1.5 < narrow < 5
    found = histogram.range(Integers(calibration="percentile", percentile=90.0), 8)
    assert found == pytest.approx(np.quantile(np.abs(values), 0.9), abs=2 * histogram.width)


@law(30)
@given(st.integers(0, 1 << 30), st.sampled_from(["power_of_two", "multiply_shift"]), st.booleans(), st.booleans())
def test_whole_weights_are_the_nearest_within_half_a_unit(seed, scales, channel, per_tap):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(4, 6, 9)) * 2.0 ** rng.integers(-5, 1, 9)
    integers = Integers(scales=scales, weight_scales="channel" if channel else "tensor", calibration="max")
    whole = whole_weights(w, integers, per_tap)
    unit = whole.units[:, None, None] * 2.0**whole.exponents
    assert np.abs(whole.values).max() <= 127
    assert whole.saturated == 0
    assert (np.abs(whole.values * unit - w) <= unit * (0.5 + 1e-9)).all()
    if scales == "power_of_two":
        assert (np.log2(whole.units) % 1 == 0).all()


def test_a_codebook_has_no_more_values_than_its_indices():
    w = np.random.default_rng(1).normal(size=(8, 5, 9)) * (np.random.default_rng(2).random((8, 5, 9)) < 0.4)
    whole = whole_weights(w, Integers(weight_bits=4, codebook_bits=16), per_tap=False)
    found = np.unique(whole.values[w != 0])
    assert len(found) <= 16
    assert not whole.values[w == 0].any()
    error = whole.values * whole.units[:, None, None] - w
    assert np.abs(error).max() < (w.max() - w.min()) / 15  # no worse than evenly spaced values


@pytest.mark.parametrize(("m", "bits"), [(2, 10), (4, 15), (6, 20)])
def test_transformed_inputs_take_the_bits_of_the_matrices(m, bits):
    assert transformed_bits(m, (3, 3), 8).max() == bits


def network_of_all_layers() -> Graph:
    """Every kind of group: residual sum, concatenation, affine behind and apart, both averages."""
    nodes = (
        Node(name="c1", layer=Conv(in_channels=3, out_channels=4, kernel=(3, 3), padding=(1, 1)), inputs=(INPUT,)),
        Node(name="a1", layer=Affine(channels=4), inputs=("c1",)),
        Node(name="r1", layer=Relu(), inputs=("a1",)),
        Node(name="c2", layer=Conv(in_channels=4, out_channels=4, kernel=(3, 3), padding=(1, 1)), inputs=("r1",)),
        Node(name="add", layer=Add(), inputs=("c2", "r1")),
        Node(name="r2", layer=Relu(), inputs=("add",)),
        Node(name="cat", layer=Concat(), inputs=("r2", "r1")),
        Node(name="a2", layer=Affine(channels=8), inputs=("cat",)),
        Node(name="avg", layer=AveragePool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), inputs=("a2",)),
        Node(name="gap", layer=GlobalAveragePool(), inputs=("avg",)),
        Node(name="flat", layer=Flatten(), inputs=("gap",)),
        Node(name="fc", layer=Linear(in_features=8, out_features=3), inputs=("flat",)),
    )
    return Graph(name="all", input_shape=(8, 10, 3), nodes=nodes)


@pytest.mark.parametrize("scales", ["power_of_two", "multiply_shift"])
@pytest.mark.parametrize("weight_scales", ["tensor", "channel"])
@pytest.mark.parametrize("m", [None, 2, 4, 6])
def test_wide_words_are_the_float_network(scales, weight_scales, m):
    """With wide words the integers of every layer kind are the float outputs to within a few units."""
    model = model_of(network_of_all_layers(), density=1.0)
    x = np.random.default_rng(3).integers(0, 256, (6, 8, 10, 3), np.uint8)
    bits = 13 if scales == "power_of_two" or m in (None, 2) else 10
    integers = Integers(bits, bits, 48, scales=scales, weight_scales=weight_scales, calibration="max")
    datapath = Datapath("m", "spatial" if m is None else "winograd", m=m, integers=integers)
    program = build(model, datapath, calibrate(model, datapath, x))
    y, counts = run_integers(program, model.network.graph.preprocessing.apply(x))
    exact = forward(model.network, model.network.graph.preprocessing.apply(x))
    assert np.abs(y - exact).max() < (0.01 if bits == 13 else 0.05) * np.abs(exact).max()
    assert sum(count.overflowed for count in counts) == 0


def test_narrow_transformed_inputs_are_shifted_rounded_and_cut():
    """F(4, 3) of 8-bit inputs needs 15 bits; in 10, tap by tap, it loses as many as the images ask for."""
    model = model_of(classifier(), m=4)
    pixels = pictures().pixels
    narrow = Datapath("m", "winograd", m=4, integers=Integers(transformed_bits=10, calibration="max"))
    found = calibrate(model, narrow, pixels)
    assert set(found.input_shifts) == {"c1", "c2"}
    for shifts in found.input_shifts.values():
        assert 0 < shifts.max() <= 5
    one = calibrate(model, replace(narrow, integers=replace(narrow.integers, tap_scales="one")), pixels)
    for name, shifts in one.input_shifts.items():
        assert (shifts == found.input_shifts[name].max()).all()
    wide = replace(narrow, integers=replace(narrow.integers, transformed_bits=15))
    assert not calibrate(model, wide, pixels).input_shifts


def test_truncated_products_fit_their_sums():
    model = model_of(classifier())
    pixels = pictures().pixels
    integers = Integers(16, 16, 20, products="truncated", calibration="max")
    datapath = Datapath("m", "spatial", integers=integers)
    found = calibrate(model, datapath, pixels)
    assert found.sum_shifts
    program = build(model, datapath, found)
    x = model.network.graph.preprocessing.apply(pixels)
    y, counts = run_integers(program, x)
    assert sum(count.overflowed for count in counts) == 0
    assert max(count.largest_sum for count in counts) >= 1 << 17
    exact = forward(model.network, x)
    assert np.abs(y - exact).max() < 0.02 * np.abs(exact).max()


def test_sums_beyond_what_is_exact_are_refused():
    model = model_of(classifier())
    integers = Integers(weight_bits=32, activation_bits=24)
    with pytest.raises(InputError, match=r"layer c1 sums 32-bit weights and 24-bit activations to over 2\^53"):
        build(model, Datapath("m", "spatial", integers=integers), Calibrated(dict.fromkeys(
            [INPUT, "r1", "c2", "c3", "c4", "g", "fc"], 1.0)))  # fmt: skip


def test_images_in_threads_and_at_once_give_the_same():
    model = model_of(classifier())
    datapath = Datapath("m", "winograd", m=2)
    program = build(model, datapath, calibrate(model, datapath, pictures().pixels))
    x = model.network.graph.preprocessing.apply(pictures(images=7).pixels)
    together = run_integers(program, x)[0]
    apart = np.concatenate([run_integers(program, image[None])[0] for image in x])
    assert np.array_equal(together, apart)


def answered_right(images: int = 80) -> tuple[DualModel, LabelledImages]:
    """A network with no favourite class, and images, each of its own colour, whose labels are what it answers."""
    model = model_of(classifier(), density=1.0)
    rng = np.random.default_rng(5)
    colours = rng.integers(0, 200, (images, 1, 1, 3))
    pixels = (colours + rng.integers(0, 56, (images, *model.network.graph.input_shape))).astype(np.uint8)
    y = forward(model.network, model.network.graph.preprocessing.apply(pixels))
    arrays = dict(model.network.arrays)
    arrays["fc.bias"] = arrays["fc.bias"] - y.mean(axis=0)
    right = (y - y.mean(axis=0)).argmax(1)
    assert len(np.unique(right)) > 1
    return replace(model, network=Network(model.network.graph, arrays)), LabelledImages(pixels, right, right)


def test_the_verdict_names_words_layer_and_bits():
    model, images = answered_right()
    enough = [Datapath("array", "spatial"), Datapath("wino", "winograd", m=2)]
    good = validate(model, enough, images, arithmetic="integers", tolerance_points=10.0)
    assert good.served_by_both
    assert not good.machines[0].too_narrow
    assert [layer.name for layer in good.machines[0].layers][:2] == ["c1", "c2"]
    assert sum(layer.worst for layer in good.machines[0].layers) == 1
    bad = [enough[0], replace(enough[1], machine="narrow", integers=Integers(weight_bits=2))]
    found = validate(model, bad, images, arithmetic="integers", tolerance_points=1.0)
    assert found.served_by_both is False
    (first, *_) = found.machines[1].too_narrow
    assert first.unit == "weights"
    assert first.bits == 2
    assert first.needed is not None
    assert 2 < first.needed <= 10
    assert first.layer in {"c1", "c2", "c3", "c4", "fc"}


def test_sums_that_wrap_around_are_named():
    model, images = answered_right()
    datapath = Datapath("array", "spatial", integers=Integers(accumulator_bits=11))
    found = validate(model, [datapath], images, arithmetic="integers", tolerance_points=1.0)
    (machine,) = found.machines
    assert any(layer.overflowed_percent > 0 for layer in machine.layers)
    assert machine.too_narrow[0].unit == "sums"
    assert machine.too_narrow[0].bits == 11
    needed = machine.too_narrow[0].needed
    assert needed is not None
    assert 11 < needed <= 24


def test_steps_know_their_widths():
    model = model_of(classifier())
    datapath = Datapath("wino", "winograd", m=2)
    steps = build(model, datapath, calibrate(model, datapath, pictures().pixels)).steps
    kinds = {step.name: type(step) for step in steps}
    assert kinds["c1"] is kinds["c2"] is WinogradStep
    assert kinds["c3"] is kinds["c4"] is kinds["fc"] is ProductStep
    for step in steps:
        if isinstance(step, WinogradStep):
            assert np.abs(step.taps).max() <= 127
            assert step.input_bits == 10


def test_a_calibrated_file_gives_the_same_bytes_and_its_scales_are_used(tmp_path):
    """Scales found on some images are kept with the model for that arithmetic alone, and decide what is computed."""
    source, target, again = tmp_path / "m.dual", tmp_path / "c.dual", tmp_path / "d.dual"
    write_small(source)
    sample = tmp_path / "images.npz"
    rng = np.random.default_rng(0)
    shape = accelsim.load_model(source).network.graph.input_shape
    dark = rng.integers(0, 40, (12, *shape), dtype=np.uint8)
    write_images(sample, LabelledImages(dark, np.zeros(12, np.int64)))
    machine = accelsim.load_hardware("winograd-16x16", ["tile=4", "arithmetic.transformed_bits=10"])
    for output in (target, again):
        found = accelsim.calibrate(source, machine, sample, output, count=10)
    assert found.images == 10
    assert target.read_bytes() == again.read_bytes()
    assert accelsim.calibrate(target, machine, sample, again, count=10) == found  # in place of the same, not beside
    assert target.read_bytes() == again.read_bytes()
    model = accelsim.load_model(target)
    assert len(model.calibrations) == 1
    calibrated, images = stored(model, machine.datapath)
    assert images == 10
    assert calibrated.units[INPUT] == found.units[INPUT]
    assert {name: shifts.tolist() for name, shifts in calibrated.input_shifts.items()} == found.input_shifts
    assert stored(model, accelsim.load_hardware("winograd-16x16").datapath) is None
    for wrong in (
        {"units": {**found.units, "flat": 1.0}},  # a map that has the scale of another
        {"units": {name: unit for name, unit in found.units.items() if name != INPUT}},
        {"sum_shifts": {"pool": 1}},
        {"input_shifts": {"conv1": [[1]]}},
    ):
        foreign = replace(model, calibrations=(found.model_copy(update=wrong),))
        assert stored(foreign, machine.datapath) is None
    bright = LabelledImages(np.full((4, *shape), 255, np.uint8), np.zeros(4, np.int64))
    said = validate(model, [machine.datapath], bright, arithmetic="integers")
    assert said.machines[0].scales == "the file, found on 10 images"


@law(100)
@given(st.lists(st.integers(-(1 << 22), 1 << 22), min_size=1, max_size=6), st.integers(0, 20), st.integers(-999, 999))
def test_shifts_in_float32_are_those_of_rationals(values, shift, bias):
    """``holds`` says where float32 is exact; there both precisions give floor((x + bias) / 2^shift + 1/2)."""
    found = change(2.0**-shift, 16)
    largest = float(max(abs(v) for v in values) + abs(bias))
    exact = [(Fraction(v + bias, 1 << shift) + Fraction(1, 2)).__floor__() for v in values]
    assert found.holds(largest)
    for single in (False, True):
        y = replace(found, single=single).apply(np.array(values, np.float32), np.array([float(bias)]))
        assert y.dtype == (np.float32 if single else np.float64)
        assert y.tolist() == exact


@pytest.mark.parametrize("relu", [True, False])
def test_sums_of_maps_behind_a_relu_are_taken_in_float32_where_either_sign_alone_fits_it(relu):
    """550 products of 127 x 127 of either sign: below 2^24, but not where inputs have both signs, too."""
    w = np.resize([127.0, -127.0], (1, 1100, 1, 1)).astype(np.float32)
    conv = Node(name="c", layer=Conv(in_channels=1100, out_channels=1, kernel=(1, 1)), inputs=("r" if relu else INPUT,))
    nodes = (*((Node(name="r", layer=Relu(), inputs=(INPUT,)),) if relu else ()), conv)
    graph = Graph(name="two", input_shape=(1, 1, 1100), nodes=nodes)
    integers = Integers(accumulator_bits=32, scales="power_of_two", calibration="max")
    model = DualModel(Network(graph, {"c.weight": w}), {}, 0.0)
    program = build(model, Datapath("array", "spatial", integers=integers), Calibrated({INPUT: 1.0, "c": 1.0}))
    step = program.steps[-1]
    assert isinstance(step, ProductStep)
    assert step.weights.dtype == (np.float32 if relu else np.float64)
    x = np.where(w.reshape(1, 1, 1, 1100) > 0, 127, 0 if relu else -128).astype(np.float32)
    assert int(step.sums(x, Counts()).item()) == 550 * 127 * (127 if relu else 127 + 128)


def test_float32_is_left_where_it_would_round():
    assert not change(2.0**-4, 16).holds(2.0**24)  # whole numbers beyond 2^24 are rounded
    assert not change(0.3, 16).holds(100.0)  # a multiplier, not a shift
    assert not change(2.0, 16).holds(2.0**23)  # doubled, with a half added
    assert not change(np.array([0.5, 2.0**-24]), 16).holds(2.0**23 + 1)  # half of 2^24 is added


@law(100)
@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(-128, 127)), min_size=2, max_size=4))
def test_sums_of_maps_are_rounded_once(terms):
    changes = common_changes([2.0**e for e, _ in terms], 16, 128)
    exact = (sum(x * Fraction(2) ** e for e, x in terms) + Fraction(1, 2)).__floor__()
    assert changes[0].single
    assert added([np.array([x], np.float32) for _, x in terms], changes).tolist() == [exact]


@pytest.mark.slow
def test_resnet20_in_two_bit_weights_is_refused_with_layer_and_bits():
    """Real photographs: F(4, 3) in 2-bit weights and 4-bit transformed inputs answers at chance, and it says why."""
    model = read_dual(MODELS / "resnet20-cifar10.dual")
    sample = read_images(MODELS / "cifar10-sample.npz")
    assert sample.reference is not None
    images = replace(sample, pixels=sample.pixels[:40], labels=sample.labels[:40], reference=sample.reference[:40])
    keys = ["tile=4", "arithmetic.weight_bits=2", "arithmetic.transformed_bits=4"]
    machines = [load_hardware("spatial-16x16").datapath, load_hardware("winograd-16x16", keys).datapath]
    found = validate(model, machines, images, arithmetic="integers")
    assert found.served_by_both is False
    good, bad = found.machines
    assert not good.too_narrow
    assert bad.top1 < 40
    named = {why.unit: why for why in bad.too_narrow}
    assert {"weights", "transformed inputs"} <= named.keys()
    assert named["weights"].bits == 2
    assert named["transformed inputs"].bits == 4
    for why in named.values():
        assert why.layer in {node.name for node in model.network.graph.nodes}
        assert why.needed is not None
        assert why.bits < why.needed <= 14


@law(100)
@given(st.lists(st.lists(st.floats(-1e3, 1e3, width=32), max_size=5), min_size=1, max_size=4))
@example([[2.396220373995437e-43]])
def test_histograms_of_parts_add_up_to_that_of_all(parts):
    whole = Histogram()
    merged = Histogram()
    for values in parts:
        whole.add(np.array(values, np.float32))
        part = Histogram()
        part.add(np.array(values, np.float32))
        merged.merge(part)
    assert merged.largest == whole.largest
    assert merged.width == whole.width
    assert (merged.counts == whole.counts).all()


def test_a_tile_that_no_shift_makes_whole_is_refused_by_its_layer():
    """F(6, 9) takes points with thirds."""
    model = one_layer(np.ones((2, 1, 9, 9)), (16, 16), 4)
    datapath = Datapath("wino", "winograd", m=6, integers=Integers(transformed_bits=12))
    with pytest.raises(InputError, match=r"wino: layer c: F\(6, 9\) .*; expected another tile"):
        calibrate(model, datapath, np.ones((1, 16, 16, 1), np.uint8))
