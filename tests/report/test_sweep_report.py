"""A sweep's report is the same bytes each time, shows what the sweep found, and needs nothing from anywhere."""

import contextlib
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from accelsim import cli
from accelsim.explore import local
from accelsim.explore.pareto import costs_of, front
from accelsim.explore.sweep import read_sweep
from accelsim.report.sweep_report import sweep_report
from tests.explore.small import write_small, write_sweep

PLOTS = ("pareto", "heat_map", "parallel", "sensitivity", "roofline", "break_even")


def codesign(folder: Path) -> Path:
    """A sweep with something in every part of the report, a failing point included."""
    write_small(folder)
    machine = {"pe_array.rows": "rows", "pe_array.cols": "8", "dram.bandwidth_gbs": "bandwidth"}
    return write_sweep(
        folder,
        models=[{"path": "small.dual", "winograd_sparsity": [0.3, 0.9]}],
        axes={"rows": [4, 8], "bandwidth": [3.2, 25.6]},
        machines={
            "array": {"base": "spatial-16x16", "set": machine},
            "wino": {"base": "winograd-16x16", "axes": {"tile": [2, 4, 9]}, "set": machine},
        },
        accuracy={"images": "images.npz", "count": 20},
        report={"cheapest": [{"minimize": "area_mm2", "limits": {"latency_ms": 0}}, {"minimize": "cycles"}]},
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of that sweep, run by the command, and what it printed as JSON."""
    folder = tmp_path_factory.mktemp("swept")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        line = ["sweep", str(codesign(folder)), "-o", str(folder / "out"), "--workers", "1", "--json"]
        assert cli.main(line) == 0
    return folder, printed.getvalue()


def test_the_report_is_whole_and_the_same_each_time(swept: tuple[Path, str], tmp_path: Path) -> None:
    folder = swept[0] / "out"
    files = sweep_report(read_sweep(folder))
    assert {f"{name}.{kind}" for name in PLOTS for kind in ("png", "svg")} <= files.keys()
    assert {name: (folder / name).read_bytes() for name in files} == files
    page = files["report.html"].decode()
    assert page.count('<figure class="drawn"') == len(PLOTS)
    assert page.index('class="verdict"') < page.index("<table")
    assert "https://" not in page.replace("https://www.w3.org", "").replace("https://matplotlib.org", "")
    assert "latency_ms \N{LESS-THAN OR EQUAL TO} 0: none" in page
    assert "tile: input should be less than or equal to 6, got 9" in page  # the points that failed
    for name in PLOTS:
        (tmp_path / "plot.png").write_bytes(files[f"{name}.png"])
        with Image.open(tmp_path / "plot.png") as image:
            assert min(image.size) > 200


def test_the_command_says_what_the_files_say(
    swept: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    folder = swept[0] / "out"
    said = json.loads(swept[1])
    table = pd.read_csv(folder / "points.csv")
    assert said["counts"] == {"done": 4 + 2 * 2 * 2 * 2, "failed": 8, "crashed": 0, "missing": 0}
    accurate = table[~(table["top1"] < table["top1"].max() - 2)]  # failed points have none
    best = accurate[front(costs_of(accurate, said["objectives"]))]
    assert sorted(row["point"] for row in said["fronts"]["all"]) == sorted(best["point"])
    assert said["cheapest"][0]["point"] is None
    assert said["cheapest"][1]["value"] == accurate["cycles"].min()
    even = pd.read_csv(folder / "break_even.csv")
    assert set(even["layer"]) == {"c1", "c2"}
    monkeypatch.setattr(local, "evaluate", None)  # every point is stored
    path = next(swept[0].glob("*.yaml"))
    assert cli.main(["sweep", str(path), "-o", str(folder), "--workers", "1"]) == 0
    assert "Pareto front over cycles, energy_pj, area_mm2" in capsys.readouterr().out


def test_a_dry_run_and_a_resume_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = codesign(tmp_path), tmp_path / "out"
    assert cli.main(["sweep", str(path), "-o", str(folder), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 28
    assert cli.main(["sweep", str(path), "-o", str(folder), "--resume"]) == 2
    assert "holds no sweep" in capsys.readouterr().err
    assert not folder.exists()


def test_a_typo_is_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, folder = codesign(tmp_path), tmp_path / "out"
    path.write_text(path.read_text().replace("pe_array.rows:", "pe_array.rosw:"))
    assert cli.main(["sweep", str(path), "-o", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "did you mean 'pe_array.rows'?" in said
    assert said.count("\n") == 1
    assert not folder.exists()


def test_a_report_of_an_unknown_column_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path, report={"objectives": ["cylces", "energy_pj"]})
    assert cli.main(["sweep", str(path), "-o", str(tmp_path / "out"), "--workers", "1"]) == 2
    assert "did you mean 'cycles'?" in capsys.readouterr().err
