"""A sweep's verdict between its families, and how far it holds where nobody measured."""

import json
from pathlib import Path

import pytest

from accelsim import cli, load_hardware, load_model
from accelsim.explore.bands import bands
from accelsim.explore.sweep import read_sweep, run_sweep
from accelsim.report.console import console
from accelsim.report.sweep_terminal import show_bands
from accelsim.simulator.run import run
from accelsim.workload import layer_works
from tests.explore.small import write_sweep

AXES = {"lanes": [64, 256], "rows": [8, 16], "bandwidth": [12.8]}
QUESTIONS = {"cheapest": [{"minimize": "energy_pj"}, {"minimize": "cycles", "limits": {"area_mm2": 0.3}}]}


def test_a_band_is_of_the_cheapest_machine_of_each_family(tmp_path: Path) -> None:
    done = run_sweep(write_sweep(tmp_path, axes=AXES, report=QUESTIONS), tmp_path / "out", workers=1)
    found = bands(done, tmp_path / "out")
    assert [band.question.minimize for band in found] == ["energy_pj", "cycles"]
    least = found[0]
    energy = done.table.groupby("family")["energy_pj"].min()
    described = least.cases.iloc[:2].set_index("machine")
    assert described["energy_pj"].to_dict() == pytest.approx(energy.to_dict())
    assert described["energy_ratio"]["winograd"] == pytest.approx(energy["winograd"] / energy["spatial"])
    assert least.sentences[0].startswith(f"winograd takes {energy['winograd'] / energy['spatial']:.2f} of the energy")
    (time,) = found[1].sentences
    assert "of the latency of spatial" in time
    within = done.table[done.table["area_mm2"] <= 0.3]
    for family, index in found[1].points.items():
        row = within.set_index("point").loc[index]
        assert (row["family"], row["cycles"]) == (family, within[within["family"] == family]["cycles"].min())


def test_an_assumption_changes_the_machine_of_the_point_itself(tmp_path: Path) -> None:
    """Twice the clock: what the library gives for that machine by hand."""
    done = run_sweep(
        write_sweep(tmp_path, axes=AXES, report={"cheapest": [{"minimize": "cycles"}]}), tmp_path / "out", workers=1
    )
    (band,) = bands(done, tmp_path / "out")
    row = done.table.set_index("point").loc[band.points["spatial"]]
    keys = [f"pe_array.rows={row['rows']}", f"pe_array.cols={row['lanes'] // row['rows']}"]
    keys += [f"dram.bandwidth_gbs={row['bandwidth']}", "clock_mhz=1600"]
    total = run(
        layer_works(load_model(tmp_path / "small.dual")),
        load_hardware("spatial-16x16", keys),
        engine="fast",
        level="resident",
    ).total
    case = band.cases[(band.cases["case"] == "twice the clock") & (band.cases["machine"] == "spatial")].iloc[0]
    assert case["latency_ms"] == total["latency_ms"]


def test_one_family_alone_has_no_band(tmp_path: Path) -> None:
    question = {"cheapest": [{"minimize": "cycles", "limits": {"cycles": 0}}]}
    done = run_sweep(write_sweep(tmp_path, axes=AXES, report=question), tmp_path / "out", workers=1)
    assert bands(done, tmp_path / "out") == []


def test_the_command_states_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None) -> None:
    path = write_sweep(tmp_path, axes=AXES, report=QUESTIONS)
    assert cli.main(["sweep", str(path), "-o", str(tmp_path / "out"), "--workers", "1", "--band", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["bands"]
    assert [band["minimize"] for band in found] == ["energy_pj", "cycles"]
    drawn = {f"band-{i}.{kind}" for i in (1, 2) for kind in ("csv", "png", "svg")}
    assert drawn <= {file.name for file in (tmp_path / "out").iterdir()}
    show_bands(console(), bands(read_sweep(tmp_path / "out"), tmp_path / "out"))
    told = capsys.readouterr().out
    assert all(sentence in told for band in found for sentence in band["sentences"])
