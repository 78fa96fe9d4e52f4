"""The three layers of docs/worked-examples.md, counted by hand, against the page and against both engines.

The figures below were computed with pencil and paper from the rules in docs/modelling.md.  The page must say the same,
each line of arithmetic on it must hold, and the simulator must give these numbers exactly.
"""

import json
import re
from math import ceil
from pathlib import Path
from types import CodeType

import numpy as np
import pytest

import accelsim
from accelsim.cli import main
from accelsim.dual.file import CompressedNetwork, write_dual
from accelsim.dual.quantizer import Quantizer

PAGE = (Path(__file__).parents[2] / "docs" / "worked-examples.md").read_text()

TEXTS = {"mode", "bound", "tiling", "loop_order"}  # columns that hold no numbers

# Column: dense spatial array (A), the same with zeros skipped (B), Winograd F(2 x 2, 3 x 3) (C).
BY_HAND = {
    "mode": ("gemm-os", "gemm-os", "winograd-f2"),
    "tiling": ("n=1 p=2 q=4 k=2 c=2",) * 3,
    "loop_order": ("npq k c; weights and inputs stay",) * 3,
    "cycles": (355, 222, 198),
    "compute_cycles": (312, 184, 148),
    "stall_cycles": (43, 38, 50),
    "useful_cycles": (288, 96, 76),
    "imbalance_cycles": (0, 64, 44),
    "edge_cycles": (24, 24, 28),
    "transform_cycles": (0, 0, 14),
    "dram_cycles": (43, 38, 36),
    "bound": ("compute", "compute", "compute"),
    "dense_macs": (1152, 1152, 1152),
    "effectual_macs": (1152, 384, 304),
    "utilization": (1152 / 1420, 384 / 888, 304 / 792),
    "dram_read_bytes": (120, 82, 140),
    "dram_write_bytes": (64, 64, 64),
    "dram_weight_bytes": (72, 34, 92),
    "dram_input_bytes": (48, 48, 48),
    "dram_output_bytes": (64, 64, 64),
    "sram_read_bytes": (1024, 712, 1464),
    "sram_write_bytes": (184, 146, 1132),
    "energy_pj": (14354.75, 10303.5, 15791.5),
    "energy_mac_pj": (1152, 384, 304),
    "energy_transform_pj": (0, 0, 160),
    "energy_register_pj": (1152, 576, 494),
    "energy_sram_pj": (1392, 1004, 3728),
    "energy_dram_pj": (10392.5, 8173, 10957),
    "energy_static_pj": (266.25, 166.5, 148.5),
    "dram_activate_pj": (2500, 2000, 2500),
    "dram_read_pj": (1920, 1312, 2240),
    "dram_write_pj": (512, 512, 512),
    "dram_io_pj": (4928, 4016, 5408),
    "dram_standby_pj": (355, 222, 198),
    "dram_refresh_pj": (177.5, 111, 99),
    "dma_cycles": (88, 78, 88),
    "roofline_cycles": (312, 184, 148),
}

# What each unit does, in the order of its own work: (what, from, cycles).
TIMELINES = (
    {
        "load inputs": [(0, 0, 23), (2, 53, 10)],
        "load weights": [(0, 23, 15), (1, 38, 15)],
        "compute": [(0, 38, 78), (1, 116, 78), (2, 194, 78), (3, 272, 78)],
        "store": [(0, 116, 8), (1, 194, 7), (2, 272, 5), (3, 350, 5)],
    },
    {
        "load inputs": [(0, 0, 23), (2, 43, 10)],
        "load weights": [(0, 23, 10), (1, 33, 10)],
        "compute": [(0, 33, 78), (1, 111, 14), (2, 125, 78), (3, 203, 14)],
        "store": [(0, 111, 8), (1, 125, 7), (2, 203, 5), (3, 217, 5)],
    },
    {
        "load inputs": [(0, 0, 23), (2, 53, 10)],
        "load weights": [(0, 23, 15), (1, 38, 15)],
        "transform": [(0, 23, 7), (2, 63, 7)],
        "compute": [(0, 38, 38), (1, 76, 36), (2, 112, 38), (3, 150, 36)],
        "inverse": [(0, 76, 7), (1, 112, 7), (2, 150, 7), (3, 186, 7)],
        "store": [(0, 83, 8), (1, 119, 7), (2, 157, 5), (3, 193, 5)],
    },
)
MACHINES = (
    ("worked-spatial.yaml", ()),
    ("worked-spatial.yaml", ("zero_handling=skip_weights", "weight_format=bitmask")),
    ("worked-winograd.yaml", ()),
)


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def tables() -> list[list[list[str]]]:
    """The tables of the page, as rows of cells without the head."""
    found = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    return [[[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]] for table in found]


def arithmetic(text: str) -> float:
    """The value of an expression of the page."""
    code: CodeType = compile(text.strip(), "worked-examples.md", "eval")
    return float(eval(code, {"__builtins__": {}}, {"ceil": ceil, "max": max}))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The page's machines written beside each other, its snippet run: what it defines."""
    monkeypatch.chdir(tmp_path)
    for block in blocks("yaml"):
        name = re.match(r"# (\S+\.yaml)\n", block)
        assert name is not None
        Path(name[1]).write_text(block)
    (snippet,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(snippet, "worked-examples.md", "exec"), names)
    return names


def test_each_line_of_arithmetic_on_the_page_holds() -> None:
    lines = [line for block in blocks("text") for line in block.splitlines()]
    assert len(lines) > 80
    for line in lines:
        _, colon, equation = line.partition(":")
        values = [arithmetic(part) for part in equation.split("=")]
        assert colon, line
        assert len(values) > 1, line
        assert set(values) == {values[0]}, line


def test_the_page_says_what_was_counted_here() -> None:
    *timelines, results = tables()
    numbers = {name: cells for name, *cells in results}
    assert list(numbers) == list(BY_HAND)
    for name, expected in BY_HAND.items():
        shown = numbers[name] if name in TEXTS else [arithmetic(cell) for cell in numbers[name]]
        assert tuple(shown) == expected, name
    for rows, expected_work in zip(timelines, TIMELINES, strict=True):
        shown_work = {(work, int(start), int(cycles), int(end)) for work, start, cycles, end, _ in rows}
        assert shown_work == {
            (f"{what} {step}", start, cycles, start + cycles)
            for what, work in expected_work.items()
            for step, start, cycles in work
        }
    # Where the arithmetic derives a column, it comes to the column's value.
    sections = re.split(r"^## [ABC]\. ", PAGE, flags=re.MULTILINE)[1:]
    for example, section in enumerate(sections):
        for name, last in re.findall(r"^(\w+):.*= *(\S+)$", section, re.MULTILINE):
            if name in BY_HAND:
                assert float(last) == BY_HAND[name][example], (name, example)


@pytest.mark.parametrize("engine", ["event", "fast"])
def test_the_simulator_gives_what_was_counted_by_hand(page: dict[str, object], engine: str) -> None:
    model = page["model"]
    assert isinstance(model, accelsim.DualModel)
    for example, (path, overrides) in enumerate(MACHINES):
        machine = accelsim.load_hardware(path, overrides)
        row = accelsim.simulate(model, machine, engine=engine, level="layers").layers.iloc[0].to_dict()
        assert (row.pop("name"), row.pop("kind")) == ("conv", "conv")
        assert row == {column: values[example] for column, values in BY_HAND.items()}
    for example, result in enumerate(page["results"]):  # type: ignore[arg-type, var-annotated]
        assert result["cycles"] == BY_HAND["cycles"][example]
        assert result["energy_pj"] == BY_HAND["energy_pj"][example]


@pytest.mark.parametrize("example", [0, 1, 2])
def test_each_unit_works_when_it_was_counted_to(page: dict[str, object], example: int) -> None:
    """The timeline of the command line, of the same layer as a file."""
    model = page["model"]
    assert isinstance(model, accelsim.DualModel)
    weights = {name: values.astype(np.int32) for name, values in model.network.arrays.items()}
    compressed = CompressedNetwork(
        graph=model.network.graph,
        indices=weights,
        quantizer=Quantizer(dict.fromkeys(weights, 1.0), np.zeros(0), None),
        values={},
        winograd_m=model.winograd_m,
        winograd_threshold=0.0,
        accuracy={},
        provenance={},
        parameters=72,
    )
    write_dual(Path("worked.dual"), compressed)
    path, overrides = MACHINES[example]
    sets = [argument for override in overrides for argument in ("--set", override)]
    assert main(["simulate", "worked.dual", path, *sets, "--json", "--trace", "timeline.json"]) == 0
    events = json.loads(Path("timeline.json").read_text())["traceEvents"]
    spans = [event for event in events if event["ph"] == "X" and event["cat"] != "layers"]
    shown = {(span["name"], span["args"]["start_cycle"], span["args"]["cycles"]) for span in spans}
    assert len(shown) == len(spans)
    assert shown == {
        (f"conv: {what} {step}", start, cycles)
        for what, work in TIMELINES[example].items()
        for step, start, cycles in work
    }
