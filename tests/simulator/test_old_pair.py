"""The plain pair at ``--level layers`` and published prices, as the first versions ran it.

Expected numbers are those that the version of 2026-11-23 printed (commit 828ec34) on a memory without delays, tilings
chosen by the bytes they move: nothing that came since as a key has moved them, to the last digit.  The DRAM is another
one by now (``reports/dram.md``): with LPDDR4 that version said 84,571 and 85,133 cycles, 41.41 and 50.77 uJ.
"""

import pytest

import accelsim

OLD_KEYS = ["energy_table=horowitz"]
BEFORE_THE_DRAM = ["dram.type=ideal", "objective=dram"]
COUNTS = ("cycles", "compute_cycles", "dram_read_bytes", "dram_write_bytes", "sram_read_bytes", "sram_write_bytes")
PARTS = ("mac", "transform", "register", "sram", "dram", "static")
FIRST = {
    "spatial-16x16": (
        (62011, 62011, 439693, 274506, 2229281, 714199),
        4940335.91015625,
        (1383139.7294921875, 0.0, 893375.0830078125, 1771750.5126953125, 0.0, 892070.5849609375),
    ),
    "winograd-16x16": (
        (58946, 52473, 587342, 274506, 5214958, 3789464),
        7985602.533203125,
        (1263404.560546875, 90773.9130859375, 769193.2705078125, 5014239.931640625, 0.0, 847990.857421875),
    ),
}
TODAY = {  # on LPDDR4-3200, as described
    "spatial-16x16": ((80039, 63307, 536013, 274506, 2253887, 835125), 62.3688),
    "winograd-16x16": ((77507, 54158, 620394, 274506, 5657356, 4264914), 71.1039),
}


@pytest.mark.parametrize("name", FIRST)
def test_old_keys_give_the_old_numbers_to_the_byte(name: str) -> None:
    counts, energy_pj, parts_pj = FIRST[name]
    machine = accelsim.load_hardware(name, [*OLD_KEYS, *BEFORE_THE_DRAM])
    total = accelsim.simulate("resnet20-cifar10", machine, engine="fast", level="layers").total
    assert tuple(total[column] for column in COUNTS) == counts
    assert total["energy_pj"] == energy_pj
    assert tuple(total[f"energy_{part}_pj"] for part in PARTS) == parts_pj


@pytest.mark.parametrize("name", TODAY)
def test_old_keys_on_the_dram_of_today(name: str) -> None:
    """What multiplies, transforms and registers take is what it was; so are the bytes that are stored."""
    counts, energy_uj = TODAY[name]
    total = accelsim.simulate(
        "resnet20-cifar10", accelsim.load_hardware(name, OLD_KEYS), engine="fast", level="layers"
    ).total
    assert tuple(total[column] for column in COUNTS) == counts
    assert round(total["energy_pj"] / 1e6, 4) == energy_uj
    first = FIRST[name][2]
    assert tuple(total[f"energy_{part}_pj"] for part in PARTS[:3]) == first[:3]
