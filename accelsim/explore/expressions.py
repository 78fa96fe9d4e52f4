"""Arithmetic that a user writes in a sweep file.

Derived parameters (``lanes / rows``) and constraints (``rows >= 4``).

A formula is parsed into Python's syntax tree and walked; nothing is ever executed as code.  Known:
numbers, quoted text, names (dotted ones too), ``+ - * / // % **``, comparisons, ``and or not``, ``a
if b else c``, and the functions of ``FUNCTIONS``.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from accelsim.errors import InputError
from accelsim.faults import nearest

Value = int | float | bool | str
MAX_LENGTH = 500
MAX_EXPONENT = 64
MAX_DIGITS = 15  # that ``round`` keeps behind the point, or drops before it
# of any number on the way: beyond it a formula is a slip, and whole numbers would fill the memory
MAX_NUMBER = 1e100


def _round(number: float, digits: int = 0) -> float:
    if abs(digits) > MAX_DIGITS:
        raise ValueError(f"round to {digits} digits, expected at most {MAX_DIGITS}")
    return round(number, digits)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": _round,
    "sqrt": math.sqrt,
}


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > MAX_EXPONENT:
        raise ValueError(f"exponent {exponent}, expected at most {MAX_EXPONENT}")
    return math.pow(base, exponent)


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@lru_cache(maxsize=1024)
def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise InputError(f"formula of {len(text)} characters, expected at most {MAX_LENGTH}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of a backslash in a text
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{text!r} is not a formula") from None
    for node in ast.walk(tree):
        _check(node, text)
    return tree


def _check(node: ast.AST, text: str) -> None:
    """Refuse every construct that ``_value`` does not know."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()) | ast.Name() | ast.Load():
            return
        case ast.Attribute(value=ast.Name() | ast.Attribute()):
            return
        case ast.BinOp(op=op) if type(op) in _BINARY:
            return
        case ast.UnaryOp(op=op) if type(op) in _UNARY:
            return
        case ast.Compare(ops=ops) if all(type(op) in _COMPARE for op in ops):
            return
        case ast.BoolOp() | ast.IfExp() | ast.operator() | ast.unaryop() | ast.cmpop() | ast.boolop():
            return
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            if name not in FUNCTIONS:
                raise InputError(f"{text!r}: no function {name!r}{nearest(name, FUNCTIONS)}")
            return
    raise InputError(f"{text!r} is not a formula of numbers, names, + - * / // % **, comparisons and functions")


@lru_cache(maxsize=1024)
def names(text: str) -> frozenset[str]:
    """The names that a formula reads.  Raises InputError if it is not one."""
    found: set[str] = set()
    nodes: list[ast.AST] = [_parse(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Name | ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Call):
            nodes += node.args
        else:
            nodes += ast.iter_child_nodes(node)
    return frozenset(found)


def evaluate(text: str, values: Mapping[str, Value]) -> Value:
    """The formula's value; a whole number is an int, also where a division gave it.

    Raises InputError if it is no formula, reads an unknown name, or cannot be computed (a division
    by zero).
    """
    try:
        value = _value(_parse(text), values)
    except KeyError as error:
        name = str(error.args[0])
        raise InputError(f"{text!r}: no parameter {name!r}{nearest(name, values)}") from None
    except (ArithmeticError, ValueError, TypeError) as error:
        raise InputError(f"{text!r}: {error}") from None
    return whole(value)


def _number(value: Any) -> int | float:
    """The value, which arithmetic needs to be a number.  Raises TypeError for a text."""
    if not isinstance(value, int | float):
        raise TypeError(f"arithmetic with {str(value)[:40]!r}, expected numbers")
    return value


def _bounded(value: int | float) -> int | float:
    """The value, neither huge nor NaN.  Raises ValueError."""
    if not abs(value) <= MAX_NUMBER:
        raise ValueError(f"gives a number beyond {MAX_NUMBER:g}" if value == value else "gives NaN")
    return value


def whole(value: Value) -> Value:
    """A float that is a whole number as an int, anything else as it is."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _value(node: ast.expr, values: Mapping[str, Value]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name]
        case ast.Attribute():
            return values[ast.unparse(node)]
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_BINARY[type(op)](_number(_value(left, values)), _number(_value(right, values))))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.UnaryOp(op=unary, operand=operand):
            return _UNARY[type(unary)](_number(_value(operand, values)))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, values) else orelse, values)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            operands = [_value(part, values) for part in (left, *comparators)]
            return all(_COMPARE[type(op)](a, b) for a, op, b in zip(operands, ops, operands[1:], strict=False))
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return _bounded(FUNCTIONS[function](*(_number(_value(part, values)) for part in arguments)))
    raise TypeError(f"{type(node).__name__} in a formula")  # _check has refused it before
