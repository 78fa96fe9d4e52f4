"""Interpolation points of Winograd transforms as a machine's file states them: a list for each tile size.

    points: {4: ["0", "1", "-1", "1/2", "-2"]}

A machine multiplies by points and their powers with shifts and adders, so a denominator is a power
of two.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from accelsim.faults import shown
from accelsim.transforms.winograd import POINTS, Points

LARGEST = 16  # numerator or denominator of a point
TILES = range(2, 7)  # m that points can be stated for
_POINT = re.compile(r"[-+]?[0-9]{1,6}(?:/[0-9]{1,6})?")  # as text

PointsByTile = tuple[tuple[int, Points], ...]  # m and its points, by rising m


def read_points(value: Any) -> PointsByTile:
    """Points by m, from a mapping of m to a list of whole numbers or texts such as ``1/2``.

    Raises ValueError that quotes what is no such mapping, no such point, there twice, or less than
    the m + 1 points of F(m, 3).
    """
    if isinstance(value, tuple):  # read before
        value = dict(value)
    if not isinstance(value, Mapping):
        raise ValueError(f'{shown(value)}, expected points by tile size such as {{4: ["0", "1", "-1", "1/2", "-2"]}}')
    found = {}
    for key, listed in value.items():
        m = int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() else key
        if type(m) is not int or m not in TILES or m in found:
            raise ValueError(f"{shown(key)}, expected a tile size of {TILES[0]} to {TILES[-1]}, once")
        found[m] = _list_of_points(m, listed)
    return tuple(sorted(found.items()))


def write_points(points: PointsByTile) -> dict[int, list[str]]:
    """Interpolation points as a machine file states them; ``read_points`` reads them back."""
    return {m: list(map(str, own)) for m, own in points}


def completed(points: Points) -> Points:
    """The points, then those of ``POINTS`` that are not among them.

    Enough for any kernel that the defaults serve.
    """
    return (*points, *(point for point in POINTS if point not in points))


def _list_of_points(m: int, listed: Any) -> Points:
    """One tile size's points."""
    if not isinstance(listed, list | tuple) or len(listed) > len(POINTS):
        raise ValueError(f"{m}: {shown(listed)}, expected a list of at most {len(POINTS)} points")
    points = tuple(_point(m, value) for value in listed)
    twice = [str(point) for i, point in enumerate(points) if point in points[:i]]
    if twice:
        raise ValueError(f"{m}: {twice[0]} is there twice, expected different points")
    if len(points) < m + 1:
        raise ValueError(f"{m}: {len(points)} points, expected at least the {m + 1} of F({m}, 3)")
    return points


def _point(m: int, value: Any) -> Fraction:
    """One interpolation point, from a whole number or a fraction's text."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | Fraction):
            raise ValueError
        if isinstance(value, str) and not _POINT.fullmatch(value):
            raise ValueError  # Python takes 1_0 and the digits of all scripts, too
        point = Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{m}: {shown(value)}, expected a whole number, or a fraction in quotes: '1/2'") from None
    denominator = point.denominator
    if max(abs(point.numerator), denominator) > LARGEST or denominator & (denominator - 1):
        expected = f"a numerator up to {LARGEST} over 1, 2, 4, 8 or 16: shifts divide by no other number"
        raise ValueError(f"{m}: {point}, expected {expected}")
    return point


_SCHEMA = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
StatedPoints = Annotated[
    PointsByTile, PlainValidator(read_points), PlainSerializer(write_points), WithJsonSchema(_SCHEMA)
]
