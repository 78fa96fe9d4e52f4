"""What the encoder of ``static`` fits: it finds what the weights were drawn by, at about the cost that entropy sets."""

import numpy as np
import pytest

from accelsim.dual.coding.fit import encode_static, fit
from accelsim.dual.coding.numbers import NumberCoder
from accelsim.dual.coding.rangecoder import BitCoder
from accelsim.dual.coding.statistics import COARSE, UNIT, code_statistics


def entropy(p):
    """Bits of a flag that is set with a probability, on average."""
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def signs(rng, shape):
    return rng.choice(np.array([-1, 1], np.int32), shape)


def test_independent_weights_cost_little_more_than_their_entropy():
    rng = np.random.default_rng(1)
    p = np.array([0.01, 0.03, 0.06, 0.80, 0.06, 0.03, 0.01])
    tensor = rng.choice(np.arange(-3, 4), (64, 64, 3, 3), p=p).astype(np.int32)
    content, _ = encode_static([tensor])
    bound = -(p * np.log2(p)).sum() * tensor.size / 8
    assert 0.98 * bound < len(content) < 1.03 * bound


def test_what_filters_and_channels_add_is_found():
    """Densities 1 / (1 + exp(-(a_k + b_c))): the fitted numbers follow a and b, and cost about the entropy."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(-1, 1.5, 64), rng.normal(0, 1, 48)
    density = 1 / (1 + np.exp(-(a[:, None] + b)))
    flags = rng.random((64, 48, 3, 3)) < density[:, :, None, None]
    tensor = np.where(flags, signs(rng, flags.shape), 0).astype(np.int32)
    found = fit([tensor])
    assert np.corrcoef(found.filters, a)[0, 1] > 0.97
    assert np.corrcoef(found.channels, b)[0, 1] > 0.95
    assert np.polyfit(a, found.filters * COARSE / UNIT, 1)[0] == pytest.approx(1, abs=0.15)  # in logits
    bound = (9 * entropy(density).sum() + flags.sum()) / 8
    assert len(encode_static([tensor])[0]) < 1.04 * bound


def test_signs_that_repeat_their_neighbours_cost_next_to_nothing():
    rng = np.random.default_rng(3)
    first = signs(rng, (64, 64, 1, 1))
    content, _ = encode_static([np.broadcast_to(first, (64, 64, 3, 3)).astype(np.int32)])
    assert 8 * len(content) < 1.3 * first.size  # a bit each for the first of nine


def test_layers_that_differ_have_weights_of_their_own():
    """Flags that repeat the one before beside flags that avoid it, and a third layer that repeats again."""
    rng = np.random.default_rng(4)

    def layer(repeat):
        flags = np.zeros((64, 64, 9), bool)
        flags[..., 0] = rng.random((64, 64)) < 0.5
        for p in range(1, 9):
            flags[..., p] = flags[..., p - 1] ^ (rng.random((64, 64)) > repeat)
        return flags.reshape(64, 64, 3, 3).astype(np.int32)

    alike = fit([layer(0.9), layer(0.1), layer(0.9)]).alike
    assert alike[0] == alike[2] != alike[1]


def test_the_statistics_are_read_as_they_were_written():
    rng = np.random.default_rng(5)
    tensors = [np.rint(rng.normal(0, 2, shape)).astype(np.int32) for shape in ((8, 3, 3, 3), (5, 8, 1, 1), (4, 5))]
    shapes = [tensor.shape for tensor in tensors]
    written = fit(tensors)
    coder = BitCoder(None)
    code_statistics(NumberCoder(coder), shapes, written)
    read = code_statistics(NumberCoder(BitCoder(coder.finish())), shapes, None)
    for name, numbers in vars(written).items():
        for one, other in zip(numbers, vars(read)[name], strict=True):
            np.testing.assert_array_equal(one, other)
