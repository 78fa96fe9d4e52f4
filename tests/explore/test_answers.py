"""A sweep answers truly: each model by itself, nothing below the accuracy asked for, each point with its command."""

import json
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from accelsim import InputError, cli
from accelsim.explore.answers import answer
from accelsim.explore.description import read_description
from accelsim.explore.naming import command, named
from accelsim.explore.sweep import run_sweep
from accelsim.report.sweep_report import sweep_report
from tests.explore.small import write_small, write_sweep

QUESTION = {"cheapest": [{"minimize": "cycles"}]}


def two_models(folder: Path) -> Path:
    """A sweep of two networks, one of which is the faster on every machine."""
    write_small(folder)
    table = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding,groups\n"
    (folder / "tiny.csv").write_text(table + "one,conv,4,4,4,4,3,3,1,1,1\n")
    return write_sweep(folder, models=["small.dual", "tiny.csv"], report=QUESTION)


def test_two_networks_do_not_share_a_front(tmp_path: Path, undrawn: None) -> None:
    done = run_sweep(two_models(tmp_path), tmp_path / "out", workers=1)
    answers = done.answers
    assert answers.models == ("small", "tiny")
    assert set(answers.fronts["small: all"]["model"]) == {"small"}
    assert set(answers.fronts["tiny: all"]["model"]) == {"tiny"}
    best = {found.model: found.row["cycles"] for found in answers.cheapest if found.row is not None}
    assert best == done.table.groupby("model")["cycles"].min().to_dict()
    page = sweep_report(done)["report.html"].decode()
    assert "knee of small: all" in page
    assert "knee of tiny: all" in page
    assert "point 1" not in page


def test_a_point_below_the_accuracy_asked_for_answers_nothing(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, report=QUESTION)
    table = run_sweep(path, tmp_path / "out", workers=1).table
    quick = table["cycles"].idxmin()
    table = table.assign(top1=90.0)
    table.loc[quick, "top1"] = 10.0
    description = read_description(path)
    answers = answer(description, table)
    assert answers.floors == {"small": 88.0}
    assert answers.cheapest[0].row is not None
    assert answers.cheapest[0].row["cycles"] == table.drop(quick)["cycles"].min()
    assert all(quick not in rows.index for rows in answers.fronts.values())
    low = description.model_copy(update={"report": description.report.model_copy(update={"least_top1": 5.0})})
    found = answer(low, table).cheapest[0].row
    assert found is not None
    assert found["top1"] == 10.0
    high = description.model_copy(update={"report": description.report.model_copy(update={"least_top1": 95.0})})
    assert answer(high, table).cheapest[0].row is None
    assert answer(high, table).fronts == {}


def test_each_point_s_command_gives_its_figures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_sweep(write_sweep(tmp_path), tmp_path / "out", workers=1)
    monkeypatch.chdir(tmp_path)
    for _, row in done.table.iloc[[0, 7, 23]].iterrows():
        words = shlex.split(command(done, row))
        assert cli.main([*words[1:], "--json"]) == 0
        total = json.loads(capsys.readouterr().out)["total"]
        for column in ("cycles", "energy_pj", "dram_read_bytes", "area_mm2"):
            assert total[column] == row[column], column


def test_a_command_finds_its_model_where_the_sweep_found_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep in another folder than the one it is run from, beside its model; and a model by its bare name."""
    axes = {"lanes": [64], "rows": [4], "bandwidth": [12.8]}
    path = write_sweep(tmp_path / "mine", models=["small.dual", "resnet20-cifar10"], axes=axes)
    monkeypatch.chdir(tmp_path)
    done = run_sweep(path.relative_to(tmp_path), Path("out"), workers=1)
    for _, row in done.table[done.table["family"] == "spatial"].iterrows():
        words = shlex.split(command(done, row))
        assert words[2] == ("mine/small.dual" if row["model"] == "small" else "resnet20-cifar10")
        assert cli.main([*words[1:], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["total"]["cycles"] == row["cycles"]


@pytest.mark.parametrize(
    "zeros",
    [
        {"winograd_sparsity": [0.5, 0.9]},
        {"winograd_threshold": [0.01, 0.2]},
        {"spatial_sparsity": [0.9, 0.95], "winograd_sparsity": [0.5]},
        {"winograd_sparsity": [0.5, 0.9], "scope": "layer"},
        {"layer_thresholds": {"c1": [0.05, 0.3], "c2": 0.1}},
        {"winograd_sparsity": [0.5, 0.9], "scope": "layer", "layer_thresholds": {"c2": 0.3}, "spatial_sparsity": [0.6]},
    ],
)
def test_a_variant_s_command_gives_its_figures_again(
    zeros: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    axes = {"lanes": [64], "rows": [4], "bandwidth": [12.8]}
    done = run_sweep(
        write_sweep(tmp_path, models=[{"path": "small.dual", **zeros}], axes=axes), tmp_path / "o", workers=1
    )
    monkeypatch.chdir(tmp_path)
    of_winograd = done.table["family"] == "winograd"
    assert done.table[of_winograd]["effectual_macs"].nunique() == 2
    pruned = "spatial_sparsity" in zeros
    for _, row in (done.table if pruned else done.table[of_winograd]).iterrows():
        words = shlex.split(command(done, row))
        assert cli.main([*words[1:], "--json"]) == 0
        total = json.loads(capsys.readouterr().out)["total"]
        for column in ("cycles", "energy_pj", "effectual_macs"):
            assert total[column] == row[column], column


def test_two_scopes_of_one_share_are_two_points_with_two_commands(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [4], "bandwidth": [12.8]}
    models = [{"path": "small.dual", "winograd_sparsity": [0.9], "scope": scope} for scope in ("network", "layer")]
    done = run_sweep(write_sweep(tmp_path, models=models, axes=axes), tmp_path / "out", workers=1)
    one, other = (row for _, row in done.table.iterrows() if row["family"] == "winograd")
    assert "--scope" not in command(done, one)
    assert "--sparsity 0.9 --scope layer" in command(done, other)
    assert named(one, done.parameters) == "winograd_sparsity=0.9 lanes=64 rows=4 bandwidth=12.8"
    assert named(other, done.parameters).startswith("winograd_sparsity=0.9 winograd_scope=layer lanes=64")


def test_zeros_that_a_machine_does_not_know_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    model, spatial, winograd = "resnet20-cifar10", "spatial-16x16", "winograd-16x16"
    for line, words in (
        (
            [model, spatial, "--sparsity", "0.5"],
            "--sparsity 0.5: spatial-16x16 is no machine with Winograd transforms",
        ),
        (["alexnet", winograd, "--threshold", "0.5"], "--threshold 0.5: alexnet is a table of layers"),
        ([model, winograd, "--sparsity", "1.5"], "--sparsity 1.5: the target sparsity must be in 0..1, got 1.5"),
        (
            [model, spatial, "--layer-threshold", "conv1=0.1"],
            "--layer-threshold conv1=0.1: spatial-16x16 is no machine with Winograd transforms",
        ),
        ([model, winograd, "--layer-threshold", "conv1"], "--layer-threshold 'conv1', expected LAYER=T"),
        ([model, winograd, "--layer-threshold", "conv1=1_0"], "--layer-threshold 'conv1=1_0', expected LAYER=T"),
        (
            [model, winograd, "--layer-threshold", "conv1=1", "--layer-threshold", "conv1=2"],
            "--layer-threshold conv1=2: the layer is there twice",
        ),
        (
            [model, winograd, "--layer-threshold", "conv2=1"],
            "--layer-threshold conv2=1: 'conv2' is no convolution that Winograd can serve, did you mean 'conv1'?",
        ),
        ([model, winograd, "--scope", "layer"], "--scope layer without --sparsity"),
        ([model, winograd, "--scope", "layers", "--sparsity", "0.5"], "--scope 'layers', expected network or layer"),
        ([model, spatial, "--prune", "1.5"], "--prune 1.5: the share of zeros must be in 0..1, got 1.5"),
        (["alexnet", spatial, "--prune", "0.5"], "--prune 0.5: alexnet is a table of layers, expected a .dual file"),
        (
            [model, winograd, "--threshold", "-1"],
            "--threshold -1: the Winograd threshold must be 0 or more, up to 3.4e+38, got -1",
        ),
    ):
        assert cli.main(["simulate", *line]) == 2
        assert words in capsys.readouterr().err


def test_a_point_is_named_by_its_parameters() -> None:
    row = pd.Series({"rows": 16, "tile": float("nan"), "bandwidth": 12.8, "on": True})
    assert named(row, ["rows", "tile", "bandwidth", "on", "absent"]) == "rows=16 bandwidth=12.8 on=true"


def test_a_folder_with_another_sweep_is_refused_unless_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run_sweep(write_sweep(tmp_path), folder, workers=1)
    before = (folder / "points.csv").read_bytes()
    other = write_sweep(tmp_path, axes={"lanes": [64], "rows": [4], "bandwidth": [3.2]})
    with pytest.raises(InputError, match="holds another sweep"):
        run_sweep(other, folder, workers=1)
    assert (folder / "points.csv").read_bytes() == before
    assert len(run_sweep(other, folder, workers=1, replace=True).table) == 2


def test_break_even_holds_machines_of_equal_lanes_against_each_other(tmp_path: Path) -> None:
    """Of 64 and 256 lanes the larger spatial machine must not set the limit of the smaller Winograd one."""
    from accelsim.report.sweep_maps import break_even_table

    models = [{"path": "small.dual", "winograd_sparsity": [0.1, 0.9]}]
    done = run_sweep(write_sweep(tmp_path, models=models), tmp_path / "out", workers=1)
    even = break_even_table(done)
    assert set(even["lanes"]) == {64, 256}
    spatial = done.table[done.table["family"] == "spatial"][["point", "lanes", "bandwidth_gbs"]]
    layers = done.layers.merge(spatial, on="point")
    for row in even.itertuples():
        same = layers[(layers["lanes"] == row.lanes) & (layers["bandwidth_gbs"] == row.bandwidth_gbs)]
        assert row.spatial == same.loc[same["name"] == row.layer, "cycles"].min()
