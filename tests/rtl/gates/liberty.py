"""A cell library in Liberty format: what a cell covers, leaks and costs a toggle, and how long it takes.

Tables are read at one point (slew of the input, load of the output), linear between their entries and constant beyond
them.  A toggle is a rise or a fall, one after the other, so it costs the mean of the two tables.  Sets of conditions
(``when``) count alike.  Units as in the file: ns, fF, fJ, nW, um2.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

_TOKEN = re.compile(r'"[^"]*"|[{}();:,]|[^\s{}();:,"]+')


@dataclass
class Group:
    """``kind (name) { attributes, groups }``."""

    kind: str
    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    lists: list[tuple[str, list[str]]] = field(default_factory=list)  # ``key (value, ...);``
    groups: list["Group"] = field(default_factory=list)

    def of(self, kind: str) -> list["Group"]:
        """The groups of one kind in it."""
        return [group for group in self.groups if group.kind == kind]


@dataclass(frozen=True)
class Table:
    """Values over slew and load; a figure that depends on neither has one of each."""

    slews: list[float]
    loads: list[float]
    values: list[list[float]]

    def at(self, slew_ns: float, load_ff: float) -> float:
        """The value at one point."""
        i, along_slew = _place(self.slews, slew_ns)
        j, along_load = _place(self.loads, load_ff)
        above = [
            row[j] if along_load == 0 else row[j] + along_load * (row[j + 1] - row[j]) for row in self.values[i : i + 2]
        ]
        return above[0] if along_slew == 0 else above[0] + along_slew * (above[1] - above[0])


def _place(entries: list[float], value: float) -> tuple[int, float]:
    """The entry at or before a value, and how far it is to the next."""
    if value <= entries[0]:
        return 0, 0.0
    if value >= entries[-1]:
        return len(entries) - 1, 0.0
    i = bisect_right(entries, value) - 1
    return i, (value - entries[i]) / (entries[i + 1] - entries[i])


def mean(tables: Sequence[Table]) -> Table:
    """The mean of tables over the same slews and loads; single figures join any."""
    whole = max(tables, key=lambda table: len(table.slews) * len(table.loads))
    shape = np.array(whole.values).shape
    values = np.mean([np.broadcast_to(np.array(table.values), shape) for table in tables], axis=0)
    return Table(whole.slews, whole.loads, values.tolist())


@dataclass(frozen=True)
class Output:
    """An output pin: its function of the input pins, and the means over its arcs, rise and fall."""

    function: str
    delay: Table | None  # ns
    slew: Table | None  # ns
    energy: Table | None  # fJ


@dataclass(frozen=True)
class Cell:
    """One cell."""

    name: str
    area_um2: float
    leakage_nw: float
    inputs: dict[str, float]  # pin: fF
    outputs: dict[str, Output]
    flip_flop: bool
    hidden: dict[tuple[str, str], list[tuple[str, Table]]]  # (input pin, rise or fall): (when, fJ)


def read_library(path: Path) -> tuple[dict[str, Cell], dict[int, float]]:
    """Cells by name; and the wire's capacitance in fF by fanout, of the library's default wire load."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL).replace("\\\n", "")
    library = _parse(_TOKEN.findall(text))
    default = library.attributes["default_wire_load"]
    (wire,) = [load for load in library.of("wire_load") if load.name == default]
    per_length = float(wire.attributes["capacitance"])
    wires = {int(n): per_length * float(length) for key, (n, length) in wire.lists if key == "fanout_length"}
    return {cell.name: _cell(cell) for cell in library.of("cell")}, wires


def _parse(tokens: list[str]) -> Group:
    """The outermost group."""
    top = Group("", "")
    stack = [top]
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token == "}":
            stack.pop()
            i += 1
        elif token == ";":
            i += 1
        elif tokens[i + 1] == ":":
            stack[-1].attributes[token] = tokens[i + 2].strip('"')
            i += 3
        else:  # ( ... ) and then { or ;
            end = tokens.index(")", i)
            values = [value.strip('"') for value in tokens[i + 2 : end] if value != ","]
            if end + 1 < len(tokens) and tokens[end + 1] == "{":
                group = Group(token, values[0] if values else "")
                stack[-1].groups.append(group)
                stack.append(group)
                i = end + 2
            else:
                stack[-1].lists.append((token, values))
                i = end + 1
    return top.groups[0]


def _cell(group: Group) -> Cell:
    pins = group.of("pin")
    inputs = {pin.name: pin for pin in pins if pin.attributes["direction"] == "input"}
    outputs = {
        pin.name: Output(
            function=pin.attributes["function"],
            delay=_mean_of(_arcs(pin), ("cell_rise", "cell_fall")),
            slew=_mean_of(_arcs(pin), ("rise_transition", "fall_transition")),
            energy=_mean_of(pin.of("internal_power"), ("rise_power", "fall_power")),
        )
        for pin in pins
        if pin.attributes["direction"] == "output" and "function" in pin.attributes
    }
    hidden = {
        (name, edge): [
            (arc.attributes.get("when", ""), table)
            for arc in pin.of("internal_power")
            for table in _tables(arc, (f"{edge}_power",))
        ]
        for name, pin in inputs.items()
        for edge in ("rise", "fall")
    }
    return Cell(
        name=group.name,
        area_um2=float(group.attributes.get("area", "0")),
        leakage_nw=float(group.attributes.get("cell_leakage_power", "0")),
        inputs={name: float(pin.attributes["capacitance"]) for name, pin in inputs.items()},
        outputs=outputs,
        flip_flop=bool(group.of("ff")),
        hidden=hidden,
    )


def _arcs(pin: Group) -> list[Group]:
    """Timing arcs that have a delay."""
    return [arc for arc in pin.of("timing") if arc.of("cell_rise")]


def _mean_of(arcs: list[Group], kinds: tuple[str, ...]) -> Table | None:
    tables = [table for arc in arcs for table in _tables(arc, kinds)]
    return mean(tables) if tables else None


def _tables(arc: Group, kinds: tuple[str, ...]) -> list[Table]:
    return [_table(group) for kind in kinds for group in arc.of(kind)]


def _table(group: Group) -> Table:
    lists = dict(group.lists)
    if "index_1" not in lists:
        return Table([0.0], [0.0], [[float(lists["values"][0])]])
    slews = _numbers(lists["index_1"][0])
    rows = [_numbers(row) for row in lists["values"]]
    if "index_2" not in lists:
        return Table(slews, [0.0], [[value] for value in rows[0]])
    return Table(slews, _numbers(lists["index_2"][0]), rows)


def _numbers(text: str) -> list[float]:
    return [float(value) for value in text.split(",")]
