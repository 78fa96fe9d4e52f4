"""Lossless coding: decode(encode(x)) = x for any tensors, and near Shannon's bound where there is no structure."""

import bz2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dual.coding.coders import decode, encode
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.coding.mixing import BitModel
from accelsim.dual.coding.numbers import decode_numbers, encode_numbers
from tests.laws import law

CODERS = ("bz2", "context", "static")


@st.composite
def tensors(draw):
    """Up to three tensors of any rank a weight can have, some empty, some with large values."""
    result = []
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(0, 3))):
        shape = draw(st.one_of(st.just(()), st.lists(st.integers(0, 7), min_size=1, max_size=5).map(tuple)))
        largest = draw(st.sampled_from([1, 2, 9, 40, 32768]))
        values = rng.integers(-largest, largest + 1, shape)
        result.append(np.where(rng.random(shape) < draw(st.floats(0, 1)), values, 0).astype(np.int32))
    return result


@pytest.mark.parametrize("coder", CODERS)
@law(60)
@given(tensors=tensors())
def test_round_trip_is_exact(coder, tensors):
    content, bits = encode(tensors, coder)
    decoded, bits_again = decode(content, [tensor.shape for tensor in tensors], coder)
    assert bits == bits_again
    for tensor, again in zip(tensors, decoded, strict=True):
        assert again.dtype == np.int32
        np.testing.assert_array_equal(again, tensor)


@pytest.mark.parametrize("coder", CODERS)
def test_the_bits_of_the_tensors_are_the_file(coder):
    rng = np.random.default_rng(3)
    tensors = [rng.integers(-2, 3, (16, 8, 3, 3)).astype(np.int32) for _ in range(3)]
    content, bits = encode(tensors, coder)
    assert sum(bits) == pytest.approx(8 * len(content), abs=96)  # the range coder's last words and the checksum


def test_independent_weights_cost_little_more_than_their_entropy():
    rng = np.random.default_rng(1)
    p = np.array([0.01, 0.03, 0.06, 0.80, 0.06, 0.03, 0.01])
    tensor = rng.choice(np.arange(-3, 4), (64, 64, 3, 3), p=p).astype(np.int32)
    entropy_bytes = -(p * np.log2(p)).sum() * tensor.size / 8
    content, _ = encode([tensor], "context")
    assert entropy_bytes * 0.98 < len(content) < entropy_bytes * 1.03


def test_filters_of_unequal_density_cost_less_than_the_zero_order_entropy():
    rng = np.random.default_rng(2)
    density = rng.beta(0.5, 2.0, (64, 1, 1, 1))
    tensor = (rng.random((64, 64, 3, 3)) < density).astype(np.int32)
    share = tensor.mean()
    zero_order = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * tensor.size / 8
    known_densities = -(density * np.log2(density) + (1 - density) * np.log2(1 - density)).mean() * tensor.size / 8
    content, _ = encode([tensor], "context")
    assert len(content) < min(0.9 * zero_order, 1.12 * known_densities)
    assert len(content) < 0.85 * len(bz2.compress(tensor.astype(np.int8).tobytes()))


def test_a_constant_tensor_costs_next_to_nothing():
    tensor = np.zeros((256, 256, 3, 3), np.int32)
    content, _ = encode([tensor], "context")
    assert 8 * len(content) < 0.01 * tensor.size


@pytest.mark.parametrize("coder", CODERS)
def test_damage_is_found(coder):
    rng = np.random.default_rng(5)
    tensor = np.where(rng.random((8, 8, 3, 3)) < 0.3, rng.integers(-5, 6, (8, 8, 3, 3)), 0).astype(np.int32)
    content, _ = encode([tensor], coder)
    for cut in range(len(content)):
        with pytest.raises(DamagedFile):
            decode(content[:cut], [tensor.shape], coder)
    with pytest.raises(DamagedFile):
        decode(content + b"\0\0\0\1", [tensor.shape, (1,)], coder)
    found = 0
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        try:
            decoded, _ = decode(bytes(damaged), [tensor.shape], coder)
        except DamagedFile:
            found += 1
        else:
            np.testing.assert_array_equal(decoded[0], tensor)  # a flip in padding does not matter
    assert found >= 0.9 * len(range(0, len(content), 7))


def test_zeros_beyond_the_stream_end_the_decoding_soon():
    content, _ = encode([np.ones((4, 4), np.int32)], "context")
    with pytest.raises(DamagedFile, match="damaged"):
        decode(content[:4] + b"\x55\xaa\x33\x77" * 4, [(1000, 1000)], "context")


@pytest.mark.parametrize("joined", [False, True])
@law(40)
@given(
    arrays=st.lists(st.lists(st.integers(-(2**23), 2**23), max_size=20), max_size=6),
    kinds=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_numbers_round_trip(joined, arrays, kinds):
    integers = [np.array(array, np.int32) for array in arrays]
    content = encode_numbers(integers, kinds[: len(integers)], joined=joined)
    decoded = decode_numbers(content, [len(array) for array in arrays], kinds[: len(integers)], joined=joined)
    for array, again in zip(integers, decoded, strict=True):
        np.testing.assert_array_equal(again, array)


@law(30)
@given(st.integers(0, 2**32 - 1))
def test_bits_of_one_context_are_learned_from_alike_one_by_one_or_as_counts(seed):
    rng = np.random.default_rng(seed)
    as_arrays, as_counts = (BitModel(((6, 1), (3, 1))) for _ in range(2))
    for _ in range(60):  # some rows are beyond the limit at which counts are halved
        rows = [int(rng.integers(6)), int(rng.integers(3))]
        bits = rng.random(int(rng.integers(1, 500))) < rng.random()
        one_by_one = as_arrays.predict([(row, 0) for row in rows], bits.shape)
        assert set(one_by_one.tolist()) == {as_counts.predict_alike(rows)}
        as_arrays.learn(bits)
        as_counts.learn_alike(len(bits), int(bits.sum()))
