"""The SRAM table against examples of the CACTI 7 runs it stems from (64-bit port, read energy in pJ)."""

import csv
from importlib import resources

import pytest

from accelsim.hardware.sram import sram

READ_PJ = {  # KB: at 45, 28 and 16 nm, rounded to two digits in the source
    8: (6.1, 2.7, 1.4),
    32: (17, 6.5, 3.2),
    128: (32, 13.9, 6.3),
    512: (68, 27, 13),
    2048: (128, 55, 27),
}


@pytest.mark.parametrize("kb", READ_PJ)
def test_read_energy_of_the_published_examples(kb: int) -> None:
    at_45, at_28, at_16 = READ_PJ[kb]
    assert sram(45, kb * 1024, 64).read_pj == pytest.approx(at_45, rel=0.01)
    assert sram(28, kb * 1024, 64).read_pj == pytest.approx(at_28, rel=0.01)
    assert sram(16, kb * 1024, 64).read_pj == pytest.approx(at_16, rel=0.04)


def test_entries_of_the_table_are_met_exactly() -> None:
    with (resources.files("accelsim.hardware") / "data" / "sram_cacti.csv").open() as stream:
        for row in csv.DictReader(stream):
            memory = sram(int(row["node_nm"]), int(float(row["kb"]) * 1024), int(row["width_b"]))
            figures = (memory.read_pj, memory.write_pj, memory.area_mm2, memory.leakage_mw)
            expected = [float(row[key]) for key in ("read_pJ", "write_pJ", "area_mm2", "leak_mW")]
            assert figures == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("node", [65, 40, 28, 22, 10])
def test_interpolation_stays_between_neighbouring_capacities(node: int) -> None:
    small, middle, large = (sram(node, kb * 1024, 128) for kb in (64, 96, 128))
    assert min(small.read_pj, large.read_pj) <= middle.read_pj <= max(small.read_pj, large.read_pj)
    assert small.area_mm2 < middle.area_mm2 < large.area_mm2


@pytest.mark.parametrize("query", [(90, 1024, 64), (5, 1024, 64), (28, 0, 64), (28, 1024, 0)])
def test_figures_outside_the_table_are_refused(query: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"SRAM"):
        sram(*query)
