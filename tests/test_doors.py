"""What Python is given and what commands are given: refused in one line where it cannot be meant, and never ignored."""

import json
from fractions import Fraction

import numpy as np
import pytest

import accelsim
from accelsim.cli import main
from accelsim.hardware.parts import EnergyOverrides
from accelsim.names import told_apart

NETWORK = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding"
PAIR = ("spatial-16x16", "winograd-16x16")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(f"{NETWORK}\nc1,conv,16,32,16,16,3,3,1,1\nc2,conv,32,16,16,16,3,3,1,1\n")
    return path


@pytest.fixture
def sweep_file(tmp_path, table):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"models: [{table}]\naxes: {{clock_mhz: [400, 800]}}\nmachines: {{s: {{base: spatial-16x16}}}}\n")
    return path


def test_names_are_told_apart():
    assert told_apart(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert told_apart(["a", "a", "a (2)"]) == ["a", "a (3)", "a (2)"]
    assert told_apart(["a (2)", "a (2)", "a"]) == ["a (2)", "a (2) (2)", "a"]


@pytest.mark.parametrize("batch", [True, 2.0, "2", None, 0, -1, 4097, float("nan"), Fraction(2), [1]])
def test_a_batch_is_a_whole_number(table, batch):
    for run in (accelsim.simulate, accelsim.compare, accelsim.sensitivity, accelsim.band):
        machines = PAIR[0] if run is accelsim.simulate else PAIR
        with pytest.raises(accelsim.InputError, match=r"batch .*expected 1 to 4096"):
            run(table, machines, batch=batch)


def test_a_batch_of_numpy_is_one(table):
    one, two = (accelsim.simulate(table, PAIR[0], engine="fast", batch=n) for n in (2, np.int64(2)))
    assert one.total["cycles"] == two.total["cycles"]


@pytest.mark.parametrize("level", ["layer", None, 1, ["layers"]])
def test_a_level_is_checked_before_anything_runs(table, level):
    for run in (accelsim.compare, accelsim.sensitivity, accelsim.band):
        with pytest.raises(accelsim.InputError, match="level"):
            run(table, PAIR, level=level)


@pytest.mark.parametrize("engine", [["fast"], None, "Fast"])
def test_an_engine_is_one_of_two(table, engine):
    with pytest.raises(accelsim.InputError, match="expected event or fast"):
        accelsim.compare(table, PAIR, engine=engine)


@pytest.mark.parametrize("machines", ["spatial-16x16", 3, None, [3], [None]])
def test_machines_are_a_list_of_machines(table, machines):
    for run in (accelsim.compare, accelsim.sensitivity, accelsim.band):
        with pytest.raises(accelsim.InputError, match="machine"):
            run(table, machines)


def test_what_is_no_model_is_refused_everywhere(table):
    for nothing in (None, 3, accelsim.load_hardware(PAIR[0])):
        for run in (accelsim.compare, accelsim.sensitivity, accelsim.band, accelsim.validate):
            with pytest.raises(accelsim.InputError, match="model"):
                run(nothing, PAIR)
    with pytest.raises(accelsim.InputError, match="model"):
        accelsim.export(accelsim.load_workload(table), "x.onnx")


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_is_a_whole_number(table, seed):
    with pytest.raises(accelsim.InputError, match="seed"):
        accelsim.load_workload(table, seed)


def test_overrides_are_a_list():
    for overrides in ("clock_mhz=400", [3], [None]):
        with pytest.raises(accelsim.InputError, match="KEY=VALUE"):
            accelsim.load_hardware(PAIR[0], overrides)


@pytest.mark.parametrize("point", ["1_0", "\uff11", "1e0", "0.5", "1/0", " 1", "1//2"])
def test_points_are_whole_numbers_or_fractions(point):
    assert accelsim.load_hardware(PAIR[1], ["points={2: ['-1/2', '0', '+1']}"])
    with pytest.raises(accelsim.InputError, match="expected a whole number, or a fraction"):
        accelsim.load_hardware(PAIR[1], [f"points={{2: ['0', '-1', '{point}']}}"])


def test_tile_and_count_are_whole_numbers(tmp_path):
    for tile in (2.5, "2", True, 0, 17):
        with pytest.raises(accelsim.InputError, match="tile"):
            accelsim.inspect("resnet20-cifar10", tile=tile)
    for count in (1.5, "3", True, 0):
        with pytest.raises(accelsim.InputError, match="count"):
            accelsim.calibrate("resnet20-cifar10", PAIR[0], "images.npz", tmp_path / "x.dual", count=count)


def test_results_are_reported_with_their_own_machines(tmp_path, table):
    results = accelsim.compare(table, PAIR, engine="fast", level="layers")
    with pytest.raises(accelsim.InputError, match="beside machine"):
        accelsim.write_report(table, PAIR[::-1], results, tmp_path / "out")
    for nothing in ([], None, [1], {}):
        with pytest.raises(accelsim.InputError, match="expected results"):
            accelsim.write_table(nothing, tmp_path / "x.csv")
    with pytest.raises(accelsim.InputError, match="expected one of each"):
        accelsim.plots(table, [], [])
    with pytest.raises(accelsim.InputError, match="directory"):
        accelsim.write_table(results, tmp_path.rename(tmp_path.with_suffix(".csv")))


def test_a_band_is_that_of_the_command_and_tells_machines_of_one_name_apart(table, capsys):
    assert main(["compare", str(table), PAIR[0], PAIR[0], "--engine", "fast", "--band", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["band"]
    assert [row["machine"] for row in said[:2]] == ["spatial-16x16", "spatial-16x16 (2)"]
    assert accelsim.band(table, [PAIR[0]] * 2).to_dict(orient="records") == said


def test_a_machine_without_energy_has_no_ratio(table):
    free = accelsim.load_hardware(PAIR[0], [f"energy.{key}=0" for key in EnergyOverrides.model_fields])
    assert accelsim.simulate(table, free, engine="fast").total["energy_pj"] == 0
    energies = accelsim.sensitivity(table, [free, PAIR[1]])
    assert energies["ratio"].isna().all()
    described = accelsim.band(table, [free, free]).iloc[:2]
    assert described["energy_ratio"].isna().all()
    assert (described["latency_ratio"] == 1).all()


def test_nothing_is_written_where_a_verdict_is_refused(tmp_path, table, capsys):
    one = tmp_path / "one.csv"
    assert main(["compare", str(table), PAIR[0], "--band", "--table", str(one), "-o", str(tmp_path / "out")]) == 2
    assert "expected at least two" in capsys.readouterr().err
    assert not one.exists()
    assert not (tmp_path / "out").exists()


def test_a_full_disk_names_the_file(table, capsys):
    assert main(["simulate", str(table), PAIR[0], "--trace", "/dev/full"]) == 2
    assert capsys.readouterr().err.startswith("error: /dev/full: No space left")
    assert main(["simulate", str(table), PAIR[0], "--table", "/proc/x.csv", "--engine", "fast"]) == 2
    assert capsys.readouterr().err.startswith("error: /proc/x.csv: ")


def test_a_dry_run_is_of_the_sweep_that_would_run(tmp_path, sweep_file, table, capsys):
    assert accelsim.sweep(sweep_file, tmp_path / "out", workers=1).counts["done"] == 2
    other = tmp_path / "other.yaml"
    other.write_text(sweep_file.read_text().replace("400, 800", "300, 800"))
    assert main(["sweep", str(other), "-o", str(tmp_path / "out"), "--dry-run"]) == 2
    assert "another sweep" in capsys.readouterr().err
    assert main(["sweep", str(other), "-o", str(tmp_path / "out"), "--dry-run", "--resume", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["points"], found["stored"], found["pending"]) == (2, 1, 1)


def test_results_are_kept_in_a_folder(sweep_file, table, capsys):
    for more in ([], ["--dry-run"]):
        assert main(["sweep", str(sweep_file), "-o", str(table), *more]) == 2
        assert "no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("400, 800", "400, 800, 400.0", "400.0 is there twice"),
        ("clock_mhz: [400, 800]", "level: [fused, fused]", "'fused' is there twice"),
        ("net.csv", "net.csv, FOLDER/more/net.csv", "both called net"),
        ("400, 800", "400, 8_00", "8_00"),
        ("axes:", "accuracy: {images: images.npz}\naxes:", "accuracy: the models are tables"),
        ("400, 800", "400, '800'", "clock_mhz: '800' is a text"),
        (
            "[400, 800]",
            "{from: true, to: 800, count: 2}",
            "axes.clock_mhz.from: input should be a valid number, got true",
        ),
        (
            "[400, 800]",
            "{from: '4', to: 800, count: 2}",
            "axes.clock_mhz.from: input should be a valid number, got '4'",
        ),
        (
            "clock_mhz: [400, 800]",
            "status: [8, 16]}\nderived: {vector_lanes: status",
            "axes.status: is a column of the results",
        ),
        ("}}", ", set: {clock_mhz: 100}}}", "set.clock_mhz: is set by the axis"),
        ("axes:", "report: {cheapest: [{minimize: cycles, limits: {cycles: '5'}}]}\naxes:", "got '5'"),
        ("[400, 800]", "[]", "axes.clock_mhz: list should have at least 1 item"),
    ],
)
def test_what_would_mix_points_is_refused_before_the_first(tmp_path, sweep_file, table, capsys, old, new, words):
    """Of two files of one name the report would make one model, of a value given twice two points."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "net.csv").write_text(table.read_text().replace("32", "16"))
    sweep_file.write_text(sweep_file.read_text().replace(old, new.replace("FOLDER", str(tmp_path))))
    assert main(["sweep", str(sweep_file), "-o", str(tmp_path / "out"), "--workers", "1"]) == 2
    assert words in capsys.readouterr().err


def test_a_question_may_ask_for_the_most(tmp_path, sweep_file, capsys, undrawn):
    sweep_file.write_text(sweep_file.read_text() + "report: {cheapest: [{minimize: -clock_mhz}]}\n")
    for more in (["--json"], []):
        assert main(["sweep", str(sweep_file), "-o", str(tmp_path / "out"), "--workers", "1", *more]) == 0
        said = capsys.readouterr().out
        if more:
            (found,) = json.loads(said)["cheapest"]
            assert (found["minimize"], found["value"]) == ("-clock_mhz", 800)
    assert "least -clock_mhz with no limits: 800 by s" in said


def test_a_sweep_runs_what_simulate_runs(tmp_path, sweep_file):
    with pytest.raises(accelsim.InputError, match=r"no such sweep, .*resnet20-machines"):
        accelsim.sweep("resnet20-machine", tmp_path / "out")  # Python looks up bare names, too
    sweep_file.write_text(sweep_file.read_text() + "batch: 4097\n")
    with pytest.raises(accelsim.InputError, match="batch"):
        accelsim.sweep(sweep_file, tmp_path / "out")


@pytest.mark.parametrize("options", [{"workers": 1.5}, {"workers": True}, {"search": 1.5}, {"search": "3"}])
def test_workers_and_points_are_whole_numbers(tmp_path, sweep_file, options):
    with pytest.raises(accelsim.InputError, match=f"--{next(iter(options))}"):
        accelsim.sweep(sweep_file, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
