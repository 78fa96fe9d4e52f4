"""Bits of the sparse formats against encoders that really write the symbols down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.formats import RUN_BITS, index_bits, stored_bytes, stored_values
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.storage.feature_map import activation_bits

MASKS = st.lists(st.booleans(), min_size=1, max_size=200)


def encode_bitmask(mask: list[bool], value_bits: int) -> str:
    return "".join("1" if kept else "0" for kept in mask) + "v" * (value_bits * sum(mask))


def encode_csr(mask: list[bool], row: int, value_bits: int) -> str:
    rows = [mask[start : start + row] for start in range(0, len(mask), row)]
    column_bits = max(1, (max(row, 2) - 1).bit_length())
    pointer_bits = len(mask).bit_length() if len(mask) > 1 else 2  # counts 0 to all of them
    symbols = ["p" * pointer_bits for _ in rows]
    symbols += ["i" * column_bits + "v" * value_bits for kept in mask if kept]
    return "".join(symbols)


def encode_run_length(mask: list[bool], value_bits: int, run_bits: int) -> list[str]:
    """One symbol a stored value: a count of zeros, then a value; a zero is inserted where the count is full."""
    symbols, run = [], 0
    for kept in mask:
        if kept or run == 2**run_bits - 1:
            symbols.append("r" * run_bits + "v" * value_bits)
            run = 0
        else:
            run += 1
    return symbols


@given(MASKS, st.integers(1, 16))
def test_bitmask_bits(mask: list[bool], value_bits: int) -> None:
    n, nonzeros = len(mask), sum(mask)
    bits = index_bits("bitmask", n, nonzeros, n) + stored_values("bitmask", n, nonzeros) * value_bits
    assert bits == len(encode_bitmask(mask, value_bits))


@given(MASKS, st.integers(1, 64), st.integers(1, 16))
def test_csr_bits(mask: list[bool], row: int, value_bits: int) -> None:
    n, nonzeros = len(mask), sum(mask)
    bits = index_bits("csr", n, nonzeros, row) + stored_values("csr", n, nonzeros) * value_bits
    assert bits == len(encode_csr(mask, row, value_bits))


@given(MASKS, st.integers(1, 16))
def test_dense_bits(mask: list[bool], value_bits: int) -> None:
    assert stored_bytes("dense", len(mask), sum(mask), value_bits, 1) == -(-len(mask) * value_bits // 8)


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("fmt", ["run_length", "packed_run_length"])
def test_run_length_padding_is_the_expected_one(fmt: str, density: float) -> None:
    mask = (np.random.default_rng(0).random(200_000) < density).tolist()
    values = stored_values(fmt, len(mask), sum(mask))
    assert float(values) == pytest.approx(len(encode_run_length(mask, 8, RUN_BITS[fmt])), rel=0.01)


def test_packed_run_length_fills_64_bit_words() -> None:
    """Eyeriss: three pairs of a 5-bit run and a 16-bit value, and a flag."""
    mask = (np.random.default_rng(0).random(30_000) < 0.3).tolist()
    words = -(-len(encode_run_length(mask, 16, 5)) // 3)
    assert float(stored_bytes("packed_run_length", len(mask), sum(mask), 16, 1)) == pytest.approx(8 * words, rel=0.001)


def test_bitmask_beats_run_length_above_a_quarter_density_only() -> None:
    def bits(fmt: str, density: float) -> float:
        n = 1 << 16
        return float(stored_values(fmt, n, density * n) * 8 + index_bits(fmt, n, density * n, n)) / n

    assert bits("bitmask", 0.15) > bits("run_length", 0.15)
    assert bits("bitmask", 0.3) < bits("run_length", 0.3)


@given(st.sampled_from(["dense", "bitmask", "csr", "run_length", "packed_run_length"]), st.integers(1, 4096))
def test_no_nonzeros_store_no_more_than_all_of_them(fmt: str, positions: int) -> None:
    none, every = (stored_bytes(fmt, positions, n, 8, positions) for n in (0, positions))
    assert 0 <= none <= every


def test_activations_are_stored_at_the_density_of_each_channel() -> None:
    """Run lengths are not linear in the density: an empty and a full channel are not two half-full ones."""
    machine = load_hardware("spatial-16x16", ["activation_format=run_length"])
    empty, full, half = (activation_bits(machine, d) for d in (0.0, 1.0, 0.5))
    assert activation_bits(machine, np.array([0.0, 1.0])) == pytest.approx((empty + full) / 2)
    assert abs(half - (empty + full) / 2) > 0.01
    dense = load_hardware("spatial-16x16")
    assert activation_bits(dense, np.array([0.1, 0.7])) == 8
