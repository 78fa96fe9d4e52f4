"""An array module that is not NumPy, as strict as CuPy: its arrays never become NumPy's by themselves.

``module`` offers NumPy's functions for arrays of type ``Foreign``.  TypeError comes of a NumPy function called on a
Foreign array and of an operation that mixes one with a NumPy array; only ``asarray``, ``array`` and ``get`` cross over.
"""

import operator
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


class Foreign:
    """A wrapped NumPy array that lets nobody see it but by ``get``."""

    __array_ufunc__ = None  # a NumPy scalar leaves operators to us, a NumPy ufunc refuses

    def __init__(self, inner: np.ndarray[Any, Any]):
        self.inner = inner

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("a foreign array became a NumPy array by itself")

    def __array_function__(self, func: Any, *_: Any) -> Any:
        raise TypeError(f"numpy.{func.__name__} was called on a foreign array")

    def get(self) -> np.ndarray[Any, Any]:
        return self.inner.copy()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.inner, name)
        return wrapped(found) if callable(found) else wrap(found)

    def __getitem__(self, key: Any) -> Any:
        return wrap(self.inner[unwrap(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inner[unwrap(key)] = unwrap(value)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Any]:
        return map(wrap, iter(self.inner))

    def __float__(self) -> float:
        return float(self.inner)

    def __int__(self) -> int:
        return int(self.inner)

    def __bool__(self) -> bool:
        return bool(self.inner)


def wrap(value: Any) -> Any:
    """NumPy arrays and scalars as Foreign (a CuPy reduction gives an array, too); anything else as it is."""
    if isinstance(value, np.ndarray | np.number | np.bool_):
        return Foreign(np.asanyarray(value))
    return tuple(map(wrap, value)) if isinstance(value, tuple) and value and isinstance(value[0], np.ndarray) else value


def unwrap(value: Any) -> Any:
    """The inverse; refuses NumPy arrays."""
    if isinstance(value, Foreign):
        return value.inner
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array was mixed with foreign ones")
    if isinstance(value, tuple | list):
        return type(value)(unwrap(item) for item in value)
    return value


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on Foreign arrays."""

    def call(*args: Any, **options: Any) -> Any:
        out = options.get("out")
        result = function(*map(unwrap, args), **{key: unwrap(value) for key, value in options.items()})
        return out if out is not None else wrap(result)

    return call


def _operators() -> None:
    names = ("add", "sub", "mul", "truediv", "pow", "matmul", "and", "or", "xor")
    for name in names:
        f, f_in_place = getattr(operator, f"__{name}__"), getattr(operator, f"__i{name}__")

        def in_place(self: Foreign, other: Any, f: Any = f_in_place) -> Foreign:
            self.inner = f(self.inner, unwrap(other))
            return self

        setattr(Foreign, f"__r{name}__", lambda self, other, f=f: wrap(f(unwrap(other), self.inner)))
        setattr(Foreign, f"__i{name}__", in_place)
    for name in (*names, "lt", "le", "gt", "ge", "eq", "ne"):
        f = getattr(operator, f"__{name}__")
        setattr(Foreign, f"__{name}__", lambda self, other, f=f: wrap(f(self.inner, unwrap(other))))
    for name in ("neg", "invert", "abs"):
        f = getattr(operator, f"__{name}__")
        setattr(Foreign, f"__{name}__", lambda self, f=f: wrap(f(self.inner)))


_operators()


class Module:
    """NumPy's functions on Foreign arrays."""

    lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=wrapped(np.lib.stride_tricks.as_strided)))

    def asarray(self, value: Any, *args: Any) -> Foreign:
        """As CuPy's: takes a NumPy array across, leaves a Foreign one alone."""
        return value if isinstance(value, Foreign) else Foreign(np.array(value, *args))

    def array(self, value: Any, *args: Any) -> Foreign:
        """A copy."""
        return Foreign(np.array(value.inner if isinstance(value, Foreign) else value, *args))

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return wrapped(found) if callable(found) and not isinstance(found, type) else found


module = Module()
