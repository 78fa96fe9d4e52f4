"""Interpolation points that a machine states: exact for every set, their bits by hand, refused in one line."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accelsim
from accelsim.datapath.counts import Counts
from accelsim.datapath.program import Calibrated, build
from accelsim.datapath.stored import arithmetic_of
from accelsim.dual.deploy import winograd_filters
from accelsim.errors import InputError
from accelsim.explore.evaluate import accuracy_task, datapath_from
from accelsim.explore.space import Variant
from accelsim.network import INPUT
from accelsim.transforms.adders import adders, constants, exact_bits, serial_inverse_additions, tile_additions
from accelsim.transforms.points import completed, read_points, write_points
from accelsim.transforms.winograd import POINTS, convolve, cook_toom, transformed_bits, whole_transforms
from tests.datapath.test_integer import direct
from tests.datapath.test_whole_numbers import one_layer
from tests.laws import law

HALF = ["0", "1", "-1", "1/2", "-2"]  # a point and its negative reciprocal: Barabasz et al., ACM TOMS 46(4), 2020
SETS = {
    (2, 3): [[0, 1, -1], [0, 1, 2], ["1/2", "-1/2", 4]],
    (4, 3): [HALF, [0, 1, -1, 2, -2], [0, 1, -1, "1/2", "-1/2"], [0, 1, -1, "1/2", "3/4"]],
    (6, 3): [[0, 1, -1, 2, "-1/2", "1/2", -2], [0, 1, -1, 2, "-1/2", 4, "-1/4"]],
}


def read(m: int, listed: list) -> tuple[Fraction, ...]:
    return dict(read_points({m: listed}))[m]


@pytest.mark.parametrize(("m", "r", "listed"), [(m, r, own) for (m, r), sets in SETS.items() for own in sets])
def test_a_stated_set_gives_the_correlation_exactly(m, r, listed):
    """y_k = sum_i g_i d_(k+i) for unit g and d, in rationals, and so for all of them by linearity."""
    for size in (r, 5):  # a larger kernel takes the default points behind the stated ones
        t = cook_toom(m, size, completed(read(m, listed)))
        for k, i, j in product(range(m), range(size), range(t.n)):
            assert sum(t.A_T[k][tap] * t.G[tap][i] * t.B_T[tap][j] for tap in range(t.n)) == (j == k + i)


def test_bits_of_half_and_minus_two_are_those_found_by_hand():
    """Rows of B^T of 0, 1, -1, 1/2, -2 and infinity, times 2 where they hold halves.

    x (x^2 - 1) (x - 1/2) (x + 2) = x^5 + 3/2 x^4 - 2 x^3 - 3/2 x^2 + x: 2 + 3 + 4 + 3 + 2 = 14, as for the point 0.
    Without 1: x (x^3 + 5/2 x^2 + 1/2 x - 1): 2 + 5 + 1 + 2 = 10, without -1 x (x^3 + 1/2 x^2 - 5/2 x + 1): 10, without
    1/2: x (x^3 + 2 x^2 - x - 2): 6, without -2: x (x^3 - 1/2 x^2 - x + 1/2): 2 + 1 + 2 + 1 = 6.
    """
    gains = [14, 10, 10, 6, 6, 14]
    points = read(4, HALF)
    assert whole_transforms(4, 3, points).gains.tolist() == gains
    bits = transformed_bits(4, (3, 3), 8, points)
    assert bits.tolist() == [[8 + int(np.ceil(np.log2(a * b))) for b in gains] for a in gains]
    assert bits.max() == exact_bits(4, (3, 3), 8, points) == 16  # 14 x 14 = 196 > 2^7
    assert exact_bits(4, (3, 3), 8) == 15


@pytest.mark.parametrize("m", [2, 3, 4, 5, 6])
def test_exact_bits_are_those_of_the_worst_inputs(m):
    """One bit less would cut the largest row of B^T, in whole numbers, on inputs of -128 and 127 of its signs."""
    for points in (None, *(read(*own) for own in [(4, HALF)] if own[0] == m)):
        B = whole_transforms(m, 3, points).B_T
        row = B[np.abs(B).sum(axis=1).argmax()]
        patch = np.where(np.multiply.outer(row, row) > 0, -128, 127)
        worst = abs(int(row @ patch @ row))
        bits = exact_bits(m, (3, 3), 8, points)
        assert worst <= 1 << (bits - 1)
        assert worst > 1 << (bits - 2)


@law(20)
@given(st.integers(0, 1 << 30), st.integers(3, 9), st.integers(3, 9), st.integers(0, 1))
def test_whole_numbers_with_half_and_minus_two_are_the_plain_sums(seed, height, width, padding):
    """Filters in multiples of 15^2, the denominators of this G: taps are whole numbers of 1/16, nothing is rounded."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (1, height, width, 2))
    w = 225 * rng.integers(-1, 2, (3, 2, 3, 3))
    keys = [
        *("tile=4", f"points.4={HALF}", "arithmetic.weight_bits=18", "arithmetic.accumulator_bits=48"),
        *("arithmetic.activation_bits=20", "arithmetic.scales=power_of_two", "arithmetic.calibration=max"),
    ]
    datapath = accelsim.load_hardware("winograd-16x16", keys).datapath
    model = one_layer(w, (height, width), padding)
    step = build(model, datapath, Calibrated({INPUT: 1.0, "c": 1.0})).steps[0]
    assert np.array_equal(step.run([x.astype(np.float32)], Counts())[0], direct(x[0], w, padding))


def test_float_filters_and_masks_are_those_of_the_points():
    """Unpruned, any points give the direct convolution; which entries are zero depends on them."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(2, 3, 3, 3)).astype(np.float32)
    w[0] = 0
    w[1, 0] = np.outer([1, 1, 1], [1, -1, 1])  # its polynomials have no roots among 0, 1, -1, 2, -2
    w[1, 1] = np.outer([2, 1, -1], [2, 1, -1])  # 2 + a - a^2 is zero at 2 and -1
    counts = []
    for points in (None, read(4, HALF)):
        W = winograd_filters(w, 4, 1e-6, points)
        t = cook_toom(4, 3, points)
        G = np.array(t.G, object)
        exact = [
            [G @ np.array([[Fraction(float(v)) for v in row] for row in g]) @ G.T for g in filters] for filters in w
        ]
        assert np.array_equal(W != 0, np.array(exact, object) != 0)
        counts.append(int((W[1, 1] != 0).sum()))
    assert counts == [16, 25]  # roots at two of six points a side, and at one
    x = rng.normal(size=(1, 6, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(convolve(x, w, 4), convolve(x, w, 2), atol=1e-4)


def test_the_default_points_stated_change_nothing():
    plain = accelsim.load_hardware("winograd-tuned-tiles-16x16")
    keys = ["points={2: [0, 1, -1], 4: [0, 1, -1, 2, -2]}"]
    stated = accelsim.load_hardware("winograd-tuned-tiles-16x16", keys)
    assert stated.operand_bits == plain.operand_bits
    assert stated.own_prices() == plain.own_prices()
    assert stated.own_areas() == plain.own_areas()
    assert tile_additions(4, (3, 3), stated.points_of(4)) == tile_additions(4, (3, 3))
    assert serial_inverse_additions(4, (3, 3), stated.points_of(4)) == serial_inverse_additions(4, (3, 3))
    assert plain.points_of(4) is None
    assert stated.points_of(4) == POINTS
    again = type(stated).model_validate(stated.model_dump(mode="json"))
    assert again == stated
    assert hash(again) == hash(stated)
    assert write_points(again.points) == {2: ["0", "1", "-1"], 4: ["0", "1", "-1", "2", "-2"]}


def test_other_points_have_their_own_prices():
    """Sharing finds 192 / 12 = 16 adders in B^T of 0, 1, -1, 1/2, -2, 12 in that of 0, 1, -1, 2, -2 (published)."""
    keys = ["tile=4", f"points={{4: {HALF}}}"]
    machine = accelsim.load_hardware("winograd-tuned-16x16", keys)
    plain = accelsim.load_hardware("winograd-tuned-16x16", keys[:1])
    assert machine.operand_bits == 16
    assert len(adders(cook_toom(4, 3, machine.points_of(4)).B_T)) == 16
    assert tile_additions(4, (3, 3), machine.points_of(4))[1:] == (192, 120)
    assert machine.own_prices()["input_tile"].pj > plain.own_prices()["input_tile"].pj
    assert machine.own_areas()["input_transform"].mm2 > plain.own_areas()["input_transform"].mm2


@pytest.mark.parametrize(
    ("rows", "adders_of_constants"),
    [
        ([[1, 1]], 0),
        ([[1, 3]], 1),  # 3 = 4 - 1
        ([[1, 7]], 1),  # 8 - 1
        ([[1, 21]], 2),  # 16 + 4 + 1
        ([[3, -3]], 0),  # the factor of a row
        ([["3/2", 1]], 1),  # 3 x + 2 y
        ([[-5, 1], [-1, 1], [-1, 1]], 0),  # y - x is there: -5 x + y = -4 x + (y - x)
    ],
)
def test_constants_are_sums_of_shifts(rows, adders_of_constants):
    assert len(constants(tuple(tuple(Fraction(entry) for entry in row) for row in rows))) == adders_of_constants


def test_the_usual_matrices_have_no_constants_and_half_and_minus_two_have():
    """Lavin & Gray's F(4, 3) shares its fives: 4 x0 - 5 x2 + x4 = 4 (x0 - x2) + (x4 - x2), likewise x1, x3, x5."""
    for m in (2, 4):
        assert not constants(cook_toom(m, 3).B_T)
        assert not constants(cook_toom(m, 3).A_T)
    assert constants(cook_toom(4, 3, read(4, HALF)).B_T)
    assert constants(cook_toom(6, 3).B_T)


def test_a_calibration_and_a_task_of_a_sweep_know_the_points(tmp_path):
    plain, stated = (
        accelsim.load_hardware("winograd-16x16", ["tile=4", *keys]).datapath for keys in ([], [f"points.4={HALF}"])
    )
    assert "points" not in arithmetic_of(plain)
    assert arithmetic_of(stated)["points"].startswith("4: 0 1 -1 1/2 -2 ")
    images = tmp_path / "images.npz"
    images.write_bytes(b"")
    variant = Variant("x", "x.dual", "0")
    tasks = [accuracy_task(variant, "winograd", 4, images, None, datapath) for datapath in (plain, stated)]
    assert tasks[0].key != tasks[1].key
    assert "points" not in tasks[0].options["datapath"]
    sent = type(tasks[1]).from_json(tasks[1].to_json())
    assert datapath_from(sent.options["datapath"]) == replace(stated, machine="machine")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["points=3"], "points: 3, expected points by tile size"),
        (["points={4: 3}"], "points: 4: 3, expected a list"),
        (["points.4=[0, 1, -1, 2]"], r"points: 4: 4 points, expected at least the 5 of F\(4, 3\)"),
        (["points.4=[0, 1, -1, 1/3, 2]"], "points: 4: 1/3, expected a numerator up to 16 over 1, 2, 4, 8 or 16"),
        (["points.4=[0, 1, -1, 17, 2]"], "points: 4: 17, expected a numerator up to 16"),
        (["points.4=[0, 1, -1, one, 2]"], "points: 4: 'one', expected a whole number, or a fraction in quotes: '1/2'"),
        (["points.4=[0, 1, -1, 0.5, 2]"], "points: 4: 0.5, expected a whole number, or a fraction"),
        (["points.4=[0, 1, -1, true, 2]"], "points: 4: true, expected a whole number"),
        (["points.4=[0, 1, -1, 1/0, 2]"], "points: 4: '1/0', expected a whole number"),
        (["points.4=[0, 1, -1, 2/2, 2]"], "points: 4: 1 is there twice, expected different points"),
        (["points.2=[0, 1, -1]"], "points: of tile size 2, expected 4"),
        (["points.9=[0, 1, -1]"], "points: '9', expected a tile size of 2 to 6, once"),
        (["points={2.0: [0, 1, -1]}"], "points: 2.0, expected a tile size of 2 to 6, once"),
    ],
)
def test_bad_points_are_refused_in_one_line(keys, said):
    with pytest.raises(InputError, match=said) as error:
        accelsim.load_hardware("winograd-16x16", ["tile=4", *keys])
    assert "\n" not in str(error.value)
