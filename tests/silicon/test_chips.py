"""Power and area of published chips: what the model misses is the band that comparisons state."""

import pytest

from accelsim.hardware.energy import area_mm2
from accelsim.simulator.verdict import CHIPS as BAND
from experiments.comparisons import chips


@pytest.mark.slow
def test_the_stated_band_is_that_of_the_chips() -> None:
    ratios = [
        published / chips.power_mw(i)[name]
        for i, chip in enumerate(chips.CHIPS)
        for name, published in chip.power_mw.items()
    ]
    assert (min(ratios), max(ratios)) == (pytest.approx(BAND[0], abs=0.005), pytest.approx(BAND[1], abs=0.005))


def test_no_chip_is_smaller_than_the_model_says() -> None:
    """The model counts lanes, streams, control, transforms and memories, and nothing of what else a chip has."""
    assert all(area_mm2(chip.machine()) < chip.area_mm2 for chip in chips.CHIPS)


def test_nothing_of_the_machines_is_calibrated_on_the_chips() -> None:
    for chip in chips.CHIPS:
        machine = chip.machine()
        assert machine.energy_table == "gates"
        own = machine.energy.model_dump(exclude_none=True)
        assert all(key.startswith("dram_") for key in own)
        assert not machine.area.model_dump(exclude_none=True)
