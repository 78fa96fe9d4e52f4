"""The values that an axis of a sweep takes: a list, or a range of numbers.

rows: [4, 8, 16]
lanes: {from: 64, to: 1024, count: 5, scale: log}
"""

import math
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from accelsim.explore import expressions
from accelsim.faults import shown
from accelsim.settings import Section

MAX_VALUES = 100_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=60)]
Scalar = bool | int | float | str


class SweepPart(Section):
    """A part of a sweep file, whose keys may be words of Python."""

    model_config = ConfigDict(populate_by_name=True)


class Range(SweepPart):
    """Numbers between two ends, both included.

    Without step or count any number between, for sampling only.
    """

    start: float = Field(alias="from", allow_inf_nan=False)
    """The smallest number (key ``from``)."""
    stop: float = Field(alias="to", allow_inf_nan=False)
    """The largest number (key ``to``)."""
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How far apart they are."""
    count: Annotated[int, Field(ge=2, le=MAX_VALUES)] | None = None
    """How many there are, instead of a step."""
    scale: Literal["linear", "log"] = "linear"
    """Whether they are spaced by equal differences or by equal factors.  Default: linear."""
    integer: bool = False
    """Whether they are rounded, each number once.  Default: no."""

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.stop <= self.start:
            raise ValueError(f"from {self.start:g} to {self.stop:g}, expected the larger number last")
        most = expressions.MAX_NUMBER
        if max(abs(self.start), abs(self.stop)) > most:
            raise ValueError(f"from {self.start:g} to {self.stop:g}, expected numbers of at most {most:g}")
        if self.step is not None and self.count is not None:
            raise ValueError("has both step and count, expected one of them")
        if self.scale == "log" and self.start < 1 / expressions.MAX_NUMBER:
            raise ValueError(f"from {self.start:g} with scale log, expected a number above 0")
        if self.step is not None:
            if self.scale == "log":
                raise ValueError("has a step with scale log, expected count")
            if (self.stop - self.start) / self.step >= MAX_VALUES:
                raise ValueError(f"step {self.step:g} gives over {MAX_VALUES} values, expected a larger one")
        return self

    @property
    def continuous(self) -> bool:
        """Whether any number between the ends may be drawn."""
        return self.step is None and self.count is None

    def at(self, share: float) -> Scalar:
        """The number that lies ``share`` (0..1) of the way; for continuous ranges."""
        if self.scale == "log":
            value = math.exp(math.log(self.start) + share * math.log(self.stop / self.start))
        else:
            value = self.start + share * (self.stop - self.start)
        value = min(max(value, self.start), self.stop)
        return round(value) if self.integer else value

    @cached_property
    def values(self) -> tuple[Scalar, ...]:
        """All numbers of a range with step or count."""
        if self.step is not None:
            steps = math.floor((self.stop - self.start) / self.step * (1 + 1e-12))
            numbers = [self.start + i * self.step for i in range(steps + 1)]
        else:
            numbers = [float(self.at(share)) for share in np.linspace(0, 1, self.count or 2)]
        # 12 digits: 0.1 + 2 * 0.1 is meant to be 0.3.
        rounded = (round(x) if self.integer else float(f"{x:.12g}") for x in numbers)
        return tuple(dict.fromkeys(expressions.whole(x) for x in rounded))


def listed(value: Any) -> Any:
    """A single value is a list of one."""
    return value if isinstance(value, list | dict | Range) else [value]


def _finite(value: Any) -> Any:
    """Listed values, each once, neither NaN nor infinity among them.

    Unlimited memory is a DRAM type, ``ideal``.
    """
    values = listed(value)
    seen: set[tuple[bool, Scalar]] = set()
    for each in values if isinstance(values, list) else ():
        if isinstance(each, float) and not math.isfinite(each):
            raise ValueError(f"{each}, expected finite numbers (unlimited bandwidth is dram.type: ideal)")
        if isinstance(each, bool | int | float | str):
            same = (isinstance(each, bool), each)  # true is not 1
            if same in seen:
                raise ValueError(f"{shown(each)} is there twice, expected each value once")
            seen.add(same)
    return values


Axis = Annotated[
    Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=MAX_VALUES)] | Range, BeforeValidator(_finite)
]
