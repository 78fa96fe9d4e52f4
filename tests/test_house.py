"""The house: imports run one way, from room to room, and in no circle.

Imports inside functions count, too; those for type checkers alone do not run, but they count all the same.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import accelsim

ROOT = Path(accelsim.__file__).parent

# Rooms from the ground floor up: a room may import from rooms of lower floors, and from its own.
FLOORS = (
    ("arrays", "errors", "links", "memo", "names", "threads"),
    ("csv_rows", "faults", "files", "given", "results_folder", "settings", "shipped"),
    ("hardware", "transforms"),
    ("network",),
    ("dual.coding",),
    ("dual",),
    ("sparsity",),
    ("training.kernels", "training.ops"),
    ("training", "workload"),
    ("compression",),
    ("datapath", "simulator.storage", "simulator.time"),
    ("simulator.tiles",),
    ("simulator.machines",),
    ("simulator",),
    ("explore",),
    ("report",),
    ("loading",),
    ("making", "showing", "validating"),
    ("",),  # the face, accelsim/__init__.py
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Rooms that do not know of each other, whatever their floors.
APART = (("training", "simulator"), ("hardware", "transforms"), ("datapath", "simulator"), ("compression", "workload"))


def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``accelsim``; the face has none."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Names below ``accelsim`` that a module imports: modules, or what they define."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.partition(".")[2] for name in names if name.partition(".")[0] == "accelsim")


@cache
def arrows() -> dict[str, set[str]]:
    """Which modules each module imports."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        targets = set()
        for name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            targets.add(name if name in known else name.rpartition(".")[0])
        found[module] = targets - {module}
    return found


def room(module: str) -> str:
    """The room that a module stands in: the longest one whose name begins its own."""
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in FLOOR), module)


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Sets of more than one node that all reach each other."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in graph.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    reach = {node: reached(node) for node in graph}
    found = [{other for other in reach[node] if node in reach.get(other, ())} for node in graph if node in reach[node]]
    return [circle for circle in found if len(circle) > 1]


def test_every_module_stands_in_a_room() -> None:
    assert {room(module) for module in modules()} == set(FLOOR)


def test_no_arrow_runs_upward() -> None:
    upward = [
        f"{module} -> {target}"
        for module, targets in arrows().items()
        for target in targets
        if FLOOR[room(target)] > FLOOR[room(module)]
    ]
    assert not upward


def test_there_is_no_circle_of_modules_or_rooms() -> None:
    of_modules = arrows()
    of_rooms: dict[str, set[str]] = {name: set() for name in FLOOR}
    for module, targets in of_modules.items():
        of_rooms[room(module)] |= {room(target) for target in targets} - {room(module)}
    assert not circles(of_modules)
    assert not circles(of_rooms)


@pytest.mark.parametrize(("one", "other"), APART)
def test_rooms_apart_do_not_know_each_other(one: str, other: str) -> None:
    for module, targets in arrows().items():
        for here, there in ((one, other), (other, one)):
            if module.split(".")[0] == here:
                assert not {target for target in targets if target.split(".")[0] == there}, module


def test_hardware_imports_nothing_above_the_ground_floor() -> None:
    of_hardware = {target for module, targets in arrows().items() if room(module) == "hardware" for target in targets}
    assert {room(target) for target in of_hardware} <= {"hardware", "arrays", "errors", "faults", "memo", "settings"}
