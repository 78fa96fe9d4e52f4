"""The adders of a Winograd transform: how many, how wide, and which of them share their gates.

A transform of a tile is one matrix on every column and one on every row of the result, as adders
and shifts.  Sums of two terms that several rows of the matrix hold are computed once, and values
grow as they are added: a value whose terms are at most g times an input of b bits has b + ceil(log2
g) bits.  An adder has a full adder for each bit of its wider operand.  An adder and a subtractor of
the same two operands are twins (x + y and x - y): of each bit they compute the exclusive or of the
two operands once.  A multiplication by a constant that is no power of two is a sum of shifts: one
adder for each signed digit but the first, unless one of its two digits is in a sum that is there
already (5 x = 4 x + x beside y - x), as all of F(4, 3) with the points 0, +-1, +-2 are.  A factor
of a whole row is part of the data.  Units have these adders; the published counts of additions, and
energies by them, do not.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations
from math import gcd, lcm
from typing import NamedTuple

from accelsim.transforms.winograd import Points, cook_toom

Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Adder:
    """One adder of a matrix-vector product."""

    gain: Fraction  # how many times the range of an input its wider operand has
    twin: bool  # another adder has the same two operands


class UnitBits(NamedTuple):
    """What a 2-D transform unit is made of."""

    adder_bits: int  # of all adders
    twin_bits: int  # of those that are twins
    register_bits: int  # of the register between the two passes


def adders(matrix: Matrix) -> list[Adder]:
    """The adders of one matrix-vector product.

    Scaling by a constant costs none (shifts, or part of the data).

    Row by row that is the non-zero entries less one.  Two-term sums x_i + c x_j that several rows
    hold, up to a factor, are computed once: the most frequent first, until none is left that
    repeats (greedy sharing of subexpressions). Then those that differ in the sign of c alone are
    put side by side.
    """
    return _found(matrix)[0]


def constants(matrix: Matrix) -> list[Adder]:
    """The adders of its multiplications by constants that are no powers of two."""
    return _found(matrix)[1]


def _found(matrix: Matrix) -> tuple[list[Adder], list[Adder]]:
    """The adders of a transform, and those of its multiplications by constants."""
    rows = [{j: entry for j, entry in enumerate(row) if entry} for row in matrix]
    gains = {j: Fraction(1) for j in range(max(len(row) for row in matrix))}
    found: list[Adder] = []
    pairs: set[tuple[int, int, Fraction]] = set()
    multiples: list[Adder] = []
    sums: set[tuple[int, int, Fraction]] = set()  # x_i + c x_j, by i, j and c

    def add(i: int, j: int, ratio: Fraction) -> int:
        """A new value x_i + ratio x_j, scaled so that the smaller of its two terms is not."""
        scale = 1 / min(Fraction(1), abs(ratio))
        terms = gains[i] * scale, gains[j] * abs(ratio) * scale
        found.append(Adder(max(terms), (i, j, abs(ratio)) in pairs))
        pairs.add((i, j, abs(ratio)))
        sums.add((i, j, ratio))
        multiples.extend([Adder(max(terms), False)] * (_digits(ratio.numerator) + _digits(ratio.denominator) - 2))
        gains[len(gains)] = sum(terms, start=Fraction(0))
        return len(gains) - 1

    for signs in (True, False):
        while True:
            ratios = Counter(
                (i, j, row[j] / row[i] if signs else abs(row[j] / row[i]))
                for row in rows
                for i, j in combinations(sorted(row), 2)
            )
            (i, j, ratio), uses = max(ratios.items(), key=lambda item: item[1], default=((0, 0, Fraction(0)), 0))
            if uses < 2:
                break
            made: dict[Fraction, int] = {}
            for row in rows:
                if i in row and j in row and (own := row[j] / row[i]) in {ratio, ratio if signs else -ratio}:
                    if own not in made:
                        made[own] = add(i, j, own)
                    row[made[own]] = row.pop(i) * min(Fraction(1), abs(own))
                    del row[j]
    for row in rows:
        terms = sorted(abs(entry) / min(map(abs, row.values())) * gains[j] for j, entry in row.items())
        found += [Adder(max(sum(terms[:k], start=Fraction(0)), terms[k]), False) for k in range(1, len(terms))]
        for j, more in _multiplied(row, sums).items():
            multiples += [Adder(abs(row[j]) / min(map(abs, row.values())) * gains[j], False)] * more
    return found, multiples


def _multiplied(row: dict[int, Fraction], sums: set[tuple[int, int, Fraction]]) -> dict[int, int]:
    """Adders of each constant of a row.  sums: what is there already, x_i + c x_j by i, j and c."""
    scale = Fraction(gcd(*(entry.numerator for entry in row.values())), lcm(*(e.denominator for e in row.values())))
    whole = {j: entry / scale for j, entry in row.items()}
    more = {}
    for j, entry in whole.items():
        more[j] = _digits(entry.numerator) - 1
        beside = [other / c for i, k, c in sums if i == j and (other := whole.get(k)) is not None]
        beside += [c * other for i, k, c in sums if k == j and (other := whole.get(i)) is not None]
        if more[j] == 1 and any((entry - part).denominator == 1 and _is_shift(entry - part) for part in beside):
            more[j] = 0
    return more


def _is_shift(value: Fraction) -> bool:
    """Whether a whole number is a power of two, of either sign."""
    return value != 0 and _digits(value.numerator) == 1


def _digits(value: int) -> int:
    """Signed binary digits, the fewest that sum up to the value (its non-adjacent form)."""
    return (abs(value) ^ (3 * abs(value))).bit_count()


def additions(matrix: Matrix) -> int:
    """Adders that one matrix-vector product needs."""
    return len(adders(matrix))


@lru_cache(maxsize=256)
def tile_additions(
    m: int,
    r: tuple[int, int],
    points: Points | None = None,
) -> tuple[int, int, int]:
    """Adders of one 2-D tile of F(m x m, R x S).

    (filter transform, input transform, inverse transform).

    The first matrix acts on every column, the second on every row of the result.
    """
    h = cook_toom(m, r[0], points)
    w = cook_toom(m, r[1], points)
    return (
        r[1] * additions(h.G) + h.n * additions(w.G),
        w.n * additions(h.B_T) + h.n * additions(w.B_T),
        w.n * additions(h.A_T) + m * additions(w.A_T),
    )


@cache
def exact_bits(m: int, r: tuple[int, int], bits: int, points: Points | None = None) -> int:
    """Bits that hold any transformed input of F(m x m, R x S), of inputs of ``bits`` bits.

    Rows with fractions are taken times their common denominator, as whole numbers.  10 for F(2, 3)
    of 8 bits, 15 for F(4, 3), 20 for F(6, 3).
    """
    vertical, horizontal = (max(map(_whole_gain, cook_toom(m, size, points).B_T)) for size in r)
    return bits + _log2_ceiling(Fraction(vertical * horizontal))


def _whole_gain(row: tuple[Fraction, ...]) -> int:
    """How many times the largest input a row's result can be, once its entries are whole."""
    denominator = lcm(*(entry.denominator for entry in row))
    return int(sum(map(abs, row), start=Fraction(0)) * denominator)


def serial_inverse_additions(m: int, r: tuple[int, int], points: Points | None = None) -> int:
    """Additions of one inverse transform whose taps come one after the other, row by row.

    Each tap is added into m sums of its row, where the matrix is not zero, and each finished row
    into the m x m outputs; what begins a sum is no addition.  24 for F(2, 3), 140 for F(4, 3).
    """
    h = cook_toom(m, r[0], points)
    w = cook_toom(m, r[1], points)
    entries_h, entries_w = (sum(1 for row in t.A_T for entry in row if entry) for t in (h, w))
    return h.n * (entries_w - m) + m * (entries_h - m)


@lru_cache(maxsize=256)
def unit_bits(matrix: Matrix, bits: int, most_bits: int) -> UnitBits:
    """A unit of ``matrix`` x tile x its transpose.

    It takes one tile a cycle, with a register between the two passes.

    bits: of the tile's values.  most_bits: no value has more (of transformed inputs, of
    accumulators).
    """

    def width(gain: Fraction) -> int:
        return min(most_bits, bits + max(0, _log2_ceiling(gain)))

    rows = [sum(map(abs, row), start=Fraction(0)) for row in matrix]  # ranges after the first pass
    columns = len(matrix[0])
    made = [*adders(matrix), *constants(matrix)]
    # The first pass has an equal set of adders for each column, the second one for each row, on
    # what came out of it.
    widths = [(adder, width(adder.gain * before)) for before in (*[Fraction(1)] * columns, *rows) for adder in made]
    return UnitBits(
        adder_bits=sum(bits_of for _, bits_of in widths),
        twin_bits=sum(bits_of for adder, bits_of in widths if adder.twin),
        register_bits=columns * sum(width(gain) for gain in rows),
    )


def input_unit(m: int, bits: int, most_bits: int, points: Points | None = None) -> UnitBits:
    """The input-transform unit of F(m x m, 3 x 3); ``bits``, ``most_bits`` as for ``unit_bits``."""
    return unit_bits(cook_toom(m, 3, points).B_T, bits, most_bits)


def inverse_unit(m: int, bits: int, points: Points | None = None) -> UnitBits:
    """The inverse-transform unit of F(m x m, 3 x 3) on sums of ``bits`` bits.

    It does not exceed them.
    """
    return unit_bits(cook_toom(m, 3, points).A_T, bits, bits)


def _log2_ceiling(value: Fraction) -> int:
    """ceil(log2(value)), exactly, of a value of at least 1."""
    return (-(-value.numerator // value.denominator) - 1).bit_length()
