"""The machines that ship: sound, and in pairs that differ in the domain alone."""

from pathlib import Path

import pytest

from accelsim.simulator.machines.load import load_hardware

FOLDER = Path(__file__).parents[2] / "hwconfigs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PAIRS = [name for name in NAMES if name.startswith("spatial-") and (FOLDER / f"winograd{name[7:]}.yaml").exists()]


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_loads_and_says_where_it_comes_from(name: str) -> None:
    assert load_hardware(name).name == name
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")


def test_pairs_exist_dense_and_sparse() -> None:
    assert {"spatial-16x16", "spatial-32x32", "spatial-dense-16x16", "spatial-dense-32x32"} <= set(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_have_equal_lanes_sram_bytes_and_dram(name: str) -> None:
    spatial, winograd = load_hardware(name), load_hardware(f"winograd{name[7:]}")
    assert (spatial.kind, winograd.kind) == ("spatial", "winograd")
    for field in (
        "lanes", "sram_bytes", "dram", "clock_mhz", "node_nm", "vector_lanes", "zero_handling", "weight_format",
        "activation_format", "balance", "window", "objective", "operand_window",
    ):  # fmt: skip
        if field == "balance" and "tuned" in name:
            continue  # each kind's own best
        assert getattr(spatial, field) == getattr(winograd, field), field
    widths = winograd.arithmetic.model_dump(exclude={"transformed_bits", "tap_scales"})
    assert spatial.arithmetic.model_dump() == widths


@pytest.mark.parametrize("name", [name for name in NAMES if "-dense-" in name])
def test_dense_variants_differ_from_their_originals_in_zeros_alone(name: str) -> None:
    dense, sparse = load_hardware(name).model_dump(), load_hardware(name.replace("-dense", "")).model_dump()
    assert {key for key in dense if dense[key] != sparse[key]} <= {
        "name", "description", "zero_handling", "weight_format"
    }  # fmt: skip


def test_the_hybrid_is_the_winograd_machine_with_a_choice() -> None:
    hybrid, winograd = (load_hardware(f"{name}-16x16").model_dump() for name in ("hybrid", "winograd"))
    assert {key for key in hybrid if hybrid[key] != winograd[key]} == {
        "name", "description", "hybrid", "polyphase", "largest_kernel"
    }  # fmt: skip
