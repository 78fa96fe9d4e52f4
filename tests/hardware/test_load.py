"""Bad machine descriptions get one line that names the file, the key, the value and what was expected."""

from pathlib import Path

import pytest

from accelsim.errors import InputError
from accelsim.report.describe import describe_machine
from accelsim.simulator.machines.load import load_hardware

GOOD = """\
kind: spatial
clock_mhz: 800
node_nm: 28
pe_array: {rows: 4, cols: 4}
buffers: {weight_kb: 8, input_kb: 8, output_kb: 8}
dram: {type: DDR4-2400}
"""


def fault(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "machine.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_hardware(path, overrides)
    message = str(error.value)
    assert "\n" not in message
    if not overrides:
        assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows: 4", "rows: -4", ["pe_array.rows", "-4", "greater than or equal to 1"]),
        ("rows: 4", "rows: many", ["pe_array.rows", "many", "integer"]),
        ("rows: 4, ", "", ["pe_array.rows: missing"]),
        ("clock_mhz", "clok_mhz", ["clok_mhz: unknown key", "'clock_mhz'"]),
        ("weight_kb: 8", "weigth_kb: 8", ["buffers.weigth_kb: unknown key", "'weight_kb'"]),
        ("DDR4-2400", "DDR4-2004", ["DDR4-2004", "did you mean 'DDR4-2400'"]),
        ("DDR4-2400", "flash", ["flash", "expected one of", "DDR4-2400"]),
        ("kind: spatial", "kind: quantum", ["kind", "quantum", "spatial"]),
        ("node_nm: 28", "node_nm: 130", ["node_nm", "130", "65"]),
        ("kind: spatial", "kind: spatial\ndataflow: sideways", ["dataflow", "sideways", "output_stationary"]),
        ("cols: 4", "cols: 4, feed: systolic", ["feed", "systolic", "zero_handling"]),
        ("kind: spatial", "kind: spatial\nwindow: 4\nzero_handling: none", ["window", "skip_weights"]),
    ],
)
def test_one_fault(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    message = fault(tmp_path, GOOD.replace(old, new))
    assert all(word in message for word in words), message


def test_all_faults_at_once(tmp_path: Path) -> None:
    message = fault(tmp_path, GOOD.replace("rows: 4", "rows: 0").replace("input_kb: 8", "input_kb: no"))
    assert "pe_array.rows" in message
    assert "buffers.input_kb" in message


def test_contradictions_are_told_beside_wrong_keys_and_values(tmp_path: Path) -> None:
    text = GOOD.replace("cols: 4", "cols: 4, feed: systolic, depth: 2").replace("clock_mhz: 800", "clock_mhz: fast")
    message = fault(tmp_path, text + "dataflow: input_stationary\nwindow: 3\n")
    for words in ("pe_array.depth: unknown key", "clock_mhz", "pe_array.feed 'systolic'", "input_stationary", "window"):
        assert words in message, message
    alone = fault(tmp_path, GOOD + "window: 3\nzero_handling: none\n")
    assert alone.count("window over 1") == 1


@pytest.mark.parametrize("text", ["", "[1, 2]", "kind: [", "\x00"])
def test_what_is_no_machine(tmp_path: Path, text: str) -> None:
    fault(tmp_path, text)


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_hardware(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match=r"did you mean 'spatial-16x16'"):
        load_hardware("spatial-16x61")


def test_overrides_are_applied_in_order_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "machine.yaml"
    path.write_text(GOOD)
    machine = load_hardware(path, ["pe_array.rows=8", "pe_array.rows=16", "dram.channels=2"])
    assert (machine.pe_array.rows, machine.dram.channels) == (16, 2)
    assert "pe_array.rosw" in fault(tmp_path, GOOD, "pe_array.rosw=8")
    assert "KEY=VALUE" in fault(tmp_path, GOOD, "pe_array.rows")
    assert "clock_mhz" in fault(tmp_path, GOOD, "clock_mhz.fast=1")


def test_the_source_of_the_times_names_only_what_the_file_replaces() -> None:
    dram = load_hardware("spatial-16x16", ["dram.refresh=0.1"]).dram
    assert dram.timing.refresh == 0.1
    assert dram.timing_source.endswith("; machine file: refresh")


@pytest.mark.parametrize("table", ["gates", "horowitz"])
def test_every_area_and_price_has_a_source_and_can_be_replaced(table: str) -> None:
    plain = describe_machine(load_hardware("winograd-16x16", [f"energy_table={table}"]))
    assert set(plain["area_sources"]) == set(plain["areas_mm2"])
    assert all(plain["area_sources"].values())
    assert all(price["source"] for price in plain["prices"].values())
    assert "JESD209-4" in plain["dram"]["timing_source"]
    keys = {f"dram_{part}_bit": f"dram_{part}_pj_per_bit" for part in ("move", "io")}
    keys |= {"register_bit": "register_pj_per_bit", "gated_mac": "gated_share"}
    prices = [
        f"energy.{keys.get(name, name + ('_pj_per_bit' if price['unit'] == 'pJ/bit' else '_pj'))}=0.5"
        for name, price in plain["prices"].items()
    ]
    areas = [f"area.{part}_mm2=0.25" for part in plain["areas_mm2"]]
    own = describe_machine(
        load_hardware("winograd-16x16", [f"energy_table={table}", *prices, *areas, "dram.refresh=0.1"])
    )
    assert own["area_mm2"] == 0.25 * len(own["areas_mm2"])
    assert set(own["area_sources"].values()) == {"machine file"}
    assert {price["source"] for price in own["prices"].values()} == {"machine file"}
    assert {price["value"] for name, price in own["prices"].items() if name != "gated_mac"} == {0.5}
    assert own["dram"]["timing_source"].endswith("machine file: refresh")
