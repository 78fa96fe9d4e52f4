"""A sweep file is refused as a whole, before the first point, with the nearest valid names."""

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from accelsim.errors import InputError
from accelsim.explore.axes import Range
from accelsim.explore.description import read_description
from accelsim.explore.space import content_key, points, size
from tests.explore.small import write_sweep


@pytest.mark.parametrize(
    ("typed", "meant", "suggestion"),
    [
        ("pe_array.rosw:", "pe_array.rows:", "pe_array.rows"),
        ("dram.bandwith_gbs:", "dram.bandwidth_gbs:", "dram.bandwidth_gbs"),
        ("lanes / rwos", "lanes / rows", "rows"),
        ("axis:", "axes:", "axes"),
        ("winograd-16x61", "winograd-16x16", "winograd-16x16"),
    ],
)
def test_a_typo_is_refused_with_the_nearest_name(tmp_path: Path, typed: str, meant: str, suggestion: str) -> None:
    path = write_sweep(tmp_path)
    text = path.read_text()
    assert meant in text
    path.write_text(text.replace(meant, typed))
    with pytest.raises(InputError) as error:
        read_description(path)
    assert f"did you mean '{suggestion}'?" in str(error.value)
    assert "\n" not in str(error.value)


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, engine="fats", batch=0, constraints=["aera_mm2 < 3"])
    with pytest.raises(InputError) as error:
        read_description(path)
    assert "engine" in str(error.value)
    assert "batch" in str(error.value)
    path = write_sweep(tmp_path, constraints=["aera_mm2 < 3"], report={"objectives": ["cylces"]})
    with pytest.raises(InputError) as error:
        read_description(path)
    assert "did you mean 'area_mm2'?" in str(error.value)


def test_a_list_whose_entry_is_faulty_is_not_called_too_short(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, models=[{"path": "x.dual", "accuracy": 1}])
    with pytest.raises(InputError, match=r"models\.0\.accuracy: unknown key") as error:
        read_description(path)
    assert "at least 1 item" not in str(error.value)
    with pytest.raises(InputError, match=r"models: .*at least 1 item"):
        read_description(write_sweep(tmp_path, models=[]))


@pytest.mark.xfail(strict=True, reason="values of a wrong type hide what does not go together, as formulas and names")
def test_faults_of_formulas_are_said_beside_those_of_values(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, engine="fats", constraints=["aera_mm2 < 3"])
    with pytest.raises(InputError) as error:
        read_description(path)
    assert "engine" in str(error.value)
    assert "did you mean 'area_mm2'?" in str(error.value)


def test_an_axis_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [8], "bandwidth": [3.2], "clock_mzh": [400, 800]}
    with pytest.raises(InputError, match=r"clock_mzh: sets no key .*did you mean 'clock_mhz'"):
        read_description(write_sweep(tmp_path, axes=axes))


@pytest.mark.parametrize("content", ["[1, 2]", "{", "a: &a [*a]", "", "models: 3", "\x00"])
def test_what_is_no_sweep_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"sweep\.yaml"):
        read_description(path)


def test_values_that_no_machine_of_a_family_accepts_are_refused(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["machines"]["winograd"]["set"]["dram.type"] = "HBM3"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"HBM3.*did you mean 'HBM2'"):
        points(read_description(path), tmp_path)


def test_a_grid_is_every_combination_that_the_constraints_allow(tmp_path: Path) -> None:
    description = read_description(write_sweep(tmp_path, constraints=["rows * rows <= lanes", "area_mm2 < 0.4"]))
    laid = points(description, tmp_path)
    everything = points(read_description(write_sweep(tmp_path)), tmp_path)
    kept = [p for p in everything if p.parameters["rows"] ** 2 <= p.parameters["lanes"] and p.facts["area_mm2"] < 0.4]
    assert size(description) == len(everything) == 2 * 2 * 3 * 2
    assert 0 < len(laid) < len(everything)
    assert [(p.family, p.parameters, p.machine) for p in laid] == [(p.family, p.parameters, p.machine) for p in kept]
    for p in laid:
        array = p.machine["pe_array"]
        assert array["rows"] * array["cols"] == p.parameters["lanes"] == p.facts["lanes"]


def test_both_kinds_are_sampled_at_equal_lanes_memory_and_bandwidth(tmp_path: Path) -> None:
    axes = {"lanes": [64, 256], "rows": [4, 8], "bandwidth": {"from": 1, "to": 64, "scale": "log"}}
    for method in ("random", "latin_hypercube"):
        sampling = {"method": method, "points": 40, "seed": 3}
        description = read_description(write_sweep(tmp_path, axes=axes, sampling=sampling))
        laid = points(description, tmp_path)
        spatial, winograd = ([p for p in laid if p.family == family] for family in ("spatial", "winograd"))
        assert len(spatial) == len(winograd) == 40
        assert [p.parameters for p in spatial] == [p.parameters for p in winograd]
        again = points(description, tmp_path)
        assert laid == again


def test_a_latin_hypercube_draws_once_from_each_slice(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [4], "bandwidth": {"from": 1, "to": 2}}
    sampling = {"method": "latin_hypercube", "points": 50}
    laid = points(read_description(write_sweep(tmp_path, axes=axes, sampling=sampling)), tmp_path)
    drawn = [float(p.parameters["bandwidth"]) for p in laid if p.family == "spatial"]
    assert sorted(np.floor((np.array(drawn) - 1) * 50).astype(int)) == list(range(50))


def test_ranges() -> None:
    assert Range.model_validate({"from": 0.1, "to": 0.3, "step": 0.1}).values == (0.1, 0.2, 0.3)
    assert Range.model_validate({"from": 4, "to": 32, "count": 4, "scale": "log"}).values == (4, 8, 16, 32)
    assert Range.model_validate({"from": 1, "to": 3, "count": 9, "integer": True}).values == (1, 2, 3)


def test_a_key_is_its_content_whatever_the_order() -> None:
    assert content_key({"a": 1, "b": 0.1}, 2) == content_key({"b": 0.1, "a": 1}, 2)
    assert content_key({"a": 1}) != content_key({"a": 1.5})


def test_machine_values_out_of_range_are_points_that_fail(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [4, 5], "bandwidth": [3.2]}
    laid = points(read_description(write_sweep(tmp_path, axes=axes)), tmp_path)
    assert [p.machine is None for p in laid] == [False, True, False, True]
    assert "pe_array.cols" in laid[1].error
    assert "12.8" in laid[1].error


def test_more_points_than_memory_holds_are_refused_at_once(tmp_path: Path) -> None:
    values = list(range(1, 401))
    axes = {"lanes": [64], "rows": values, "bandwidth": [1 + value / 100 for value in values]}
    path = write_sweep(tmp_path, axes=axes)
    begin = time.process_time()
    with pytest.raises(InputError, match="320000 points, expected at most 100000"):
        points(read_description(path), tmp_path)
    assert time.process_time() - begin < 5


def test_a_long_range_is_laid_out_once(tmp_path: Path) -> None:
    axes = {"lanes": [64], "rows": [4, 8], "bandwidth": {"from": 1, "to": 20, "count": 100_000}}
    path = write_sweep(tmp_path, axes=axes, sampling={"method": "random", "points": 500})
    begin = time.process_time()
    assert len(points(read_description(path), tmp_path)) == 1000
    assert time.process_time() - begin < 10  # to lay it out for each point takes a minute


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        ({"from": -1e308, "to": 1e308, "count": 3}, "expected numbers of at most 1e+100"),
        ({"from": 1e-300, "to": 1e90, "count": 3, "scale": "log"}, "expected a number above 0"),
        ({"from": 1, "to": float("inf"), "count": 3}, "finite number"),
    ],
)
def test_ranges_whose_numbers_overflow_are_refused(tmp_path: Path, axis: dict[str, object], words: str) -> None:
    path = write_sweep(tmp_path, axes={"lanes": [64], "rows": [4], "bandwidth": axis})
    with pytest.raises(InputError) as error:
        read_description(path)
    assert words in str(error.value)


def test_a_constraint_is_a_comparison(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, constraints=["lanes - 64"])
    with pytest.raises(InputError, match="'lanes - 64' gives 0, expected a comparison"):
        points(read_description(path), tmp_path)
