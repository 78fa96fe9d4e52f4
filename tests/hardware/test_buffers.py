"""Double buffers priced as two memories of half their size: figures of the CACTI 7 runs (45 nm, 64-bit port)."""

import csv
from importlib import resources

import pytest

import accelsim
from accelsim.report.describe import describe_machine


def figures(kb: int) -> dict[str, float]:
    """A row of the table that ships."""
    with (resources.files("accelsim.hardware") / "data" / "sram_cacti.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    (row,) = (r for r in rows if float(r["kb"]) == kb and int(r["node_nm"]) == 45 and int(r["width_b"]) == 64)
    return {key: float(value) for key, value in row.items()}


@pytest.mark.parametrize("kb", [8, 32, 128])
def test_a_double_buffer_is_two_memories_of_half_its_size(kb: int) -> None:
    """Each access is of one half; both halves have an area and leak."""
    rooms = [f"buffers.{name}_kb={2 * kb}" for name in ("weight", "input", "output")]
    machine = accelsim.load_hardware("spatial-16x16", ["node_nm=45", "buffers.port_bits=64", *rooms])
    described, half = describe_machine(machine), figures(kb)
    for name in ("weight", "input", "output"):
        for way in ("read", "write"):
            price = described["prices"][f"{name}_{way}"]["value"]
            assert price == pytest.approx(half[f"{way}_pJ"] / 64)
        assert described["areas_mm2"][f"{name}_buffer"] == pytest.approx(2 * half["area_mm2"])
    without = accelsim.load_hardware(
        "spatial-16x16", ["node_nm=45", "buffers.port_bits=64", *rooms, "energy.sram_leakage_mw=0"]
    )
    leakage = described["static_mw"] - describe_machine(without)["static_mw"]
    assert leakage == pytest.approx(3 * 2 * half["leak_mW"])
