"""What a dry run counts is what laying out every point gives."""

from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import InputError
from accelsim.explore import outline as outlines
from accelsim.explore.description import read_description
from accelsim.explore.estimate import estimate
from accelsim.explore.outline import outline
from accelsim.explore.sweep import run_sweep
from accelsim.explore.tasks import read_tasks
from tests.explore.small import write_sweep

LANES = {"lanes": [16, 32, 64], "rows": [2, 4, 8, 16], "bandwidth": [3.2, 6.4, 12.8]}
SHAPED = {"pe_array.rows": "rows", "pe_array.cols": "lanes / rows", "dram.bandwidth_gbs": "bandwidth"}
TILED = {"base": "winograd-16x16", "axes": {"tile": [2, 4]}, "set": SHAPED}

SWEEPS: list[dict[str, Any]] = [
    # all of a family is laid out: what is no machine (64 / 6 columns) is found
    {"axes": {"lanes": [64], "rows": [4, 6, 8], "bandwidth": [3.2]}},
    # constraints on parameters, derived ones among them, and an axis that sets its key itself
    {
        "axes": {**LANES, "clock_mhz": [200, 400, 800]},
        "derived": {"cols": "lanes / rows"},
        "constraints": ["cols >= 4", "cols * bandwidth <= 120"],
        "machines": {"spatial": {"base": "spatial-16x16", "set": SHAPED}, "winograd": TILED},
    },
    # a formula without a value: a point that is no machine, which no constraint leaves out
    {
        "axes": {**LANES, "clock_mhz": [200, 400], "less": [0, 2]},
        "derived": {"cols": "lanes / rows / less"},
        "constraints": ["cols >= 4"],
        "machines": {"spatial": {"base": "spatial-16x16", "set": SHAPED}},
    },
    # variants, which a spatial machine does not tell apart
    {
        "models": [{"path": "small.dual", "winograd_sparsity": [0.3, 0.9], "spatial_sparsity": [0.8, 0.9]}],
        "axes": {**LANES, "clock_mhz": [200, 400]},
        "accuracy": {"images": "images.npz"},
        "machines": {"spatial": {"base": "spatial-16x16", "set": SHAPED}, "winograd": TILED},
    },
    # drawn samples
    {
        "axes": {"rows": {"from": 2, "to": 9, "integer": True}, "cols": {"from": 2, "to": 9, "integer": True}},
        "constraints": ["rows + cols >= 9"],
        "sampling": {"method": "random", "points": 150},
        "machines": {"spatial": {"base": "spatial-16x16", "set": {"pe_array.rows": "rows", "pe_array.cols": "cols"}}},
    },
]


@pytest.mark.parametrize("changes", SWEEPS)
def test_points_are_counted_without_laying_them_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_sweep(tmp_path, **changes)
    laid = read_tasks(path)
    found = outline(read_description(path), tmp_path)
    assert found is not None
    assert found.points == len(laid.points)
    kinds = [task.kind for task in laid.unique.values()]
    if changes.get("sampling") is None and not found.about:  # a draw may come twice
        assert (found.simulations, found.measurements) == (kinds.count("simulate"), kinds.count("accuracy"))


def test_what_machines_themselves_decide_is_said_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spatial = {"spatial": {"base": "spatial-16x16", "set": SHAPED}}
    axes = {**LANES, "clock_mhz": [200, 400, 600, 800], "less": [1, 2]}
    path = write_sweep(tmp_path, axes=axes, machines=spatial, constraints=["area_mm2 <= 0.5 / less"])
    laid = len(read_tasks(path).points)
    found = outline(read_description(path), tmp_path)
    assert found is not None
    assert found.about
    assert 0 < laid < 288
    # 64 of 288 were tried: four standard errors of a share
    assert abs(found.points - laid) < 4 * 288 * 0.5 / 8
    monkeypatch.setattr(outlines, "ALL", 288)
    exact = outline(read_description(path), tmp_path)
    assert exact is not None
    assert (exact.points, exact.about) == (laid, False)


def test_a_sweep_of_no_machine_is_refused_as_the_sweep_itself(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, axes={"lanes": [16], "rows": [2], "bandwidth": [3.2], "clock_mhz": [-1, -2]})
    with pytest.raises(InputError, match="no other point of this family is sound"):
        estimate(path, tmp_path / "out")
    path = write_sweep(tmp_path, constraints=["lanes < 2"])
    with pytest.raises(InputError, match="no point meets the constraints"):
        estimate(path, tmp_path / "out")


def test_what_is_stored_is_known_by_the_points_that_the_folder_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sweep(tmp_path, accuracy={"images": "images.npz", "count": 4})
    run_sweep(path, tmp_path / "out", workers=1)
    found = estimate(path, tmp_path / "out")
    assert (found.points, found.stored, found.pending, found.seconds) == (24, 26, 0, None)
    # another one in its place shares half of the points, which takes laying all out
    axes = {"lanes": [64, 128], "rows": [4, 8, 16], "bandwidth": [3.2, 12.8]}
    path = write_sweep(tmp_path, axes=axes, accuracy={"images": "images.npz", "count": 4})
    other = estimate(path, tmp_path / "out", replace=True)
    assert (other.points, other.stored, other.pending, other.measurements) == (24, 14, 12, 0)
