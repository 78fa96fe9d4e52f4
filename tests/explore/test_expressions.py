"""Formulas mean what Python means by them, and nothing else is a formula."""

import math
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.errors import InputError
from accelsim.explore.expressions import evaluate, names

NUMBERS = st.integers(-50, 50)


def both(*parts: tuple[str, str], write: Callable[..., str]) -> tuple[str, str]:
    """A formula and the same in Python, from those of its parts."""
    ours, pythons = zip(*parts, strict=True)
    return write(*ours), write(*pythons)


def truth(word: str, first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    """``and`` or ``or``, which give a truth value in a formula."""
    return f"({first[0]} {word} {second[0]})", f"(bool({first[1]}) {word} bool({second[1]}))"


# (formula, the same in Python)
FORMULAS = st.recursive(
    st.one_of(NUMBERS.map(lambda n: f"({n})"), st.sampled_from(["a", "b"])).map(lambda text: (text, text)),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "=="]), part).map(
            lambda t: both(t[0], t[2], write=lambda x, y: f"({x} {t[1]} {y})")
        ),
        st.tuples(st.sampled_from(["and", "or"]), part, part).map(lambda t: truth(*t)),
        st.tuples(part, part).map(lambda t: both(*t, write=lambda x, y: f"max({x}, {y})")),
        st.tuples(part, part, part).map(lambda t: both(*t, write=lambda x, y, z: f"({x} if {y} else {z})")),
    ),
    max_leaves=8,
)


@given(FORMULAS, NUMBERS, NUMBERS)
def test_formulas_mean_what_python_means(formula: tuple[str, str], a: int, b: int) -> None:
    text, python = formula
    try:
        expected = eval(python, {"__builtins__": {"max": max, "bool": bool}}, {"a": a, "b": b})
    except ZeroDivisionError:
        with pytest.raises(InputError, match=r"division|modulo"):
            evaluate(text, {"a": a, "b": b})
    else:
        assert evaluate(text, {"a": a, "b": b}) == expected


def test_whole_numbers_are_integers_and_dotted_names_are_names() -> None:
    assert type(evaluate("lanes / 4", {"lanes": 64})) is int
    assert evaluate("pe_array.rows * 2", {"pe_array.rows": 8}) == 16
    assert names("max(pe_array.rows, rows) + 1") == {"pe_array.rows", "rows"}
    assert evaluate("kind == 'spatial'", {"kind": "spatial"}) is True
    assert evaluate("log2(sqrt(x))", {"x": 256}) == math.log2(16)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "a[0]",
        "[x for x in (1,)]",
        "open('x')",
        "a.__class__.__base__()",
        "f'{a}'",
        "1 +",
        "a := 2",
        "9 ** 9 ** 9",
        "",
        "(" * 5000,
    ],
)
def test_nothing_else_is_a_formula(text: str) -> None:
    with pytest.raises(InputError):
        evaluate(text, {"a": 1})


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="no parameter 'lnaes', did you mean 'lanes'"):
        evaluate("lnaes / 2", {"lanes": 4, "rows": 2})


def test_a_backslash_in_a_text_makes_no_noise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate(r"a == '\*'", {"a": r"\*"}) is True
