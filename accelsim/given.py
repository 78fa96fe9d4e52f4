"""What Python code hands over, checked as the command line's words are: one line says what was expected.

Numbers come back as Python's own: one of NumPy's has a width, and would run over in silence.
"""

from collections.abc import Callable, Collection, Iterable
from numbers import Integral, Real
from typing import Any

from accelsim.errors import InputError
from accelsim.faults import nearest, shown


def whole_number(what: str, value: object, least: int, most: int | None = None) -> int:
    """A whole number within bounds; True is none.  Raises InputError if it is none."""
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        expected = f"at least {least}" if most is None else f"{least} to {most}"
        raise InputError(f"{what} {shown(value)}, expected {expected}")
    return number


def number_or_none(what: str, value: object, expected: str = "a number") -> float | None:
    """A number, or None where none is given; True is none.  Raises InputError if it is something else."""
    if value is None:
        return None
    if not isinstance(value, Real) or isinstance(value, bool):
        raise InputError(f"{what} {shown(value)}, expected {expected}")
    return float(value)


def numbers_or_none(what: str, value: object) -> tuple[float, ...] | None:
    """Numbers, or None where none are given.  Raises InputError if they are something else."""
    if value is None:
        return None
    found = None if isinstance(value, str | bytes) or not isinstance(value, Iterable) else list(value)
    if not found or not all(isinstance(number, Real) and not isinstance(number, bool) for number in found):
        raise InputError(f"{what} {shown(value)}, expected numbers, such as (0.5, 0.5, 0.5)")
    return tuple(map(float, found))


def text_or_none(what: str, value: object) -> str | None:
    """A text, or None where none is given.  Raises InputError if it is something else."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value.encode()
            return str(value)
    except UnicodeEncodeError:  # half of a pair of UTF-16
        pass
    raise InputError(f"{what} {shown(value)}, expected a text")


def flag(what: str, value: object) -> bool:
    """True or False.  Raises InputError if it is something else: "no" would count as yes."""
    if not isinstance(value, bool):
        raise InputError(f"{what} {shown(value)}, expected True or False")
    return value


def one_of(what: str, value: object, known: Collection[str]) -> str:
    """One of some words.  Raises InputError with the nearest if it is none."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{what} {shown(value)}{nearest(str(value), known)}")
    return str(value)


def function_of(what: str, value: Any) -> Callable[..., Any]:
    """A function to call.  Raises InputError if it is none, before anything is read or made."""
    if not callable(value):
        raise InputError(f"{what} {shown(value)}, expected a function")
    called: Callable[..., Any] = value
    return called
