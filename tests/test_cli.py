"""The commands keep their contract: keys, units, sums, one JSON object on stdout, exit status."""

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import accelsim
from accelsim.cli import COMMANDS, main
from accelsim.commands import words
from accelsim.network import forward
from tests.small_dual import DENSE_MACS, MACHINES, PARAMETERS, ROOT, write_images, write_small
from tests.undrawn import without_pictures

RESNET20 = ROOT / "models" / "resnet20-cifar10.dual"
TUNED = ("spatial-tuned-16x16", "winograd-tuned-16x16")
COLUMNS = (
    *("name", "kind", "mode", "cycles", "compute_cycles", "stall_cycles", "dense_macs", "effectual_macs"),
    *("utilization", "dram_read_bytes", "dram_write_bytes", "dram_weight_bytes", "dram_input_bytes"),
    *("dram_output_bytes", "sram_read_bytes", "sram_write_bytes", "energy_pj", "energy_mac_pj"),
    *("energy_transform_pj", "energy_register_pj", "energy_sram_pj", "energy_dram_pj", "energy_static_pj"),
)
SUMMED = [c for c in COLUMNS if c not in {"name", "kind", "mode", "utilization"}]
PARTS = [c for c in COLUMNS if c.startswith("energy_") and c != "energy_pj"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    write_images(folder / "images.npz")
    return write_small(folder / "small.dual")


@pytest.fixture
def run(capsys):
    def run(*arguments, status=0):
        assert main([str(argument) for argument in arguments]) == status
        return capsys.readouterr().out

    return run


def strict_json(text):
    """The object, if the text is one line with one object and nothing that JSON does not have."""

    def refuse(name):
        raise AssertionError(name)

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_part_sums_to_its_whole_exactly(run, model, machine, batch):
    result = strict_json(run("simulate", model, machine, "--batch", batch, "--json"))
    assert list(result) == ["model", "machine", "engine", "level", "total", "layers"]
    assert (result["model"], result["machine"], result["engine"]) == ("small", machine, "event")
    total, layers = result["total"], result["layers"]
    assert set(COLUMNS) <= set(total)
    assert {"latency_ms", "area_mm2", "power_mw"} <= set(total)
    for row in [*layers, total]:
        assert set(COLUMNS) <= set(row)
        assert row["energy_pj"] == sum(row[part] for part in PARTS)
        assert row["cycles"] == row["compute_cycles"] + row["stall_cycles"]
        assert row["dram_read_bytes"] == row["dram_weight_bytes"] + row["dram_input_bytes"]
        assert row["dram_write_bytes"] == row["dram_output_bytes"]
        assert 0 <= row["utilization"] <= 1
    for column in SUMMED:
        assert total[column] == sum(layer[column] for layer in layers), column
    assert {layer["name"]: layer["dense_macs"] for layer in layers} == {
        name: batch * macs for name, macs in DENSE_MACS.items()
    }
    assert [layer["kind"] for layer in layers] == ["conv", "conv", "add", "pool", "conv", "pool", "linear"]
    assert total["power_mw"] == pytest.approx(total["energy_pj"] / (total["latency_ms"] * 1e6))


@pytest.mark.parametrize("machine", MACHINES)
def test_both_engines_print_the_same_figures(run, model, machine):
    event = strict_json(run("simulate", model, machine, "--engine", "event", "--json"))
    fast = strict_json(run("simulate", model, machine, "--engine", "fast", "--json"))
    assert fast.pop("engine") == "fast"
    assert event.pop("engine") == "event"
    assert fast == event


def test_dense_machine_executes_the_dense_macs(run, model):
    for machine, name in (("spatial-dense-16x16", "conv2"), ("winograd-dense-16x16", "down")):
        layers = strict_json(run("simulate", model, machine, "--json"))["layers"]
        by_name = {layer["name"]: layer for layer in layers}
        assert by_name[name]["effectual_macs"] == DENSE_MACS[name]
    # F(2, 3) on 12 x 12 outputs: 36 tiles of 16 multiplies, where direct convolution takes 4 x 9.
    assert by_name["conv2"]["effectual_macs"] == 36 * 16 * 8 * 8


def test_skipping_machine_executes_nonzeros_times_positions(run, model):
    layers = strict_json(run("simulate", model, "spatial-16x16", "--json"))["layers"]
    weights = accelsim.load_model(model).network.arrays
    for layer, positions in (("conv1", 144), ("conv2", 144), ("down", 9), ("classes", 1)):
        nonzeros = int((weights[f"{layer}.weight"] != 0).sum())
        assert next(r["effectual_macs"] for r in layers if r["name"] == layer) == nonzeros * positions


def test_compare_prints_what_simulate_prints_and_ratios_to_the_first(run, model):
    both = strict_json(run("compare", model, "spatial-16x16", "winograd-16x16", "--json"))
    assert list(both) == ["results", "ratios"]
    for result in both["results"]:
        assert result == strict_json(run("simulate", model, result["machine"], "--json"))
    first, second = (result["total"] for result in both["results"])
    assert set(both["ratios"]["spatial-16x16"].values()) == {1.0}
    for column, ratio in both["ratios"]["winograd-16x16"].items():
        assert ratio == second[column] / first[column]


def test_python_gives_the_same_as_the_command(run, model):
    printed = strict_json(run("simulate", model, "winograd-16x16", "--batch", 2, "--json"))
    result = accelsim.simulate(accelsim.load_model(model), "winograd-16x16", batch=2)
    assert result.layers.to_dict(orient="records") == printed["layers"]
    assert result.total.to_dict() == printed["total"]


def test_machines_of_one_name_stay_apart(run, model):
    both = strict_json(run("compare", model, "spatial-16x16", "spatial-16x16", "--json"))
    assert [r["machine"] for r in both["results"]] == ["spatial-16x16", "spatial-16x16 (2)"]
    assert list(both["ratios"]) == ["spatial-16x16", "spatial-16x16 (2)"]


def test_set_changes_the_machine(run, model):
    plain = strict_json(run("simulate", model, "spatial-dense-16x16", "--json"))["total"]
    changes = ("--set", "pe_array.rows=8", "--set", "clock_mhz=400")
    changed = strict_json(run("simulate", model, "spatial-dense-16x16", *changes, "--json"))["total"]
    assert changed["compute_cycles"] > plain["compute_cycles"]
    assert changed["latency_ms"] == pytest.approx(changed["cycles"] / 400e3)


def test_ratio_to_zero_is_null(run, model, tmp_path):
    """JSON has no NaN and no infinity: a machine without any cost comes first, its memory is infinitely fast."""
    free = (ROOT / "hwconfigs" / "spatial-dense-16x16.yaml").read_text().replace("LPDDR4-3200", "ideal")
    parts = ["mac_pj", "register_pj_per_bit", "logic_static_mw", "sram_leakage_mw"]
    parts += [f"{b}_{d}_pj_per_bit" for b in ("weight", "input", "output") for d in ("read", "write")]
    path = tmp_path / "free.yaml"
    path.write_text(free + "energy_table: horowitz\nenergy: {" + ", ".join(f"{part}: 0" for part in parts) + "}\n")
    both = strict_json(run("compare", model, path, "spatial-16x16", "--json"))
    assert both["results"][0]["total"]["energy_pj"] == 0
    assert both["results"][1]["total"]["energy_pj"] > 0
    assert both["ratios"]["spatial-16x16"]["energy_pj"] is None
    assert strict_json(run("inspect", path, "--json"))["dram"]["bandwidth_gbs"] is None


def test_inspect_model(run, model):
    found = strict_json(run("inspect", model, "--json"))
    expected = ["parameters", "float32_bytes", "file_bytes", "compression_ratio", "layers", "winograd", "accuracy"]
    assert list(found) == expected
    assert found["parameters"] == PARAMETERS
    assert found["file_bytes"] == os.path.getsize(model)
    assert found["compression_ratio"] == 4 * PARAMETERS / os.path.getsize(model)
    assert found["accuracy"] == {"top1_reference": 50.0}
    weights = accelsim.load_model(model).network.arrays
    bits = 0.0
    for layer in found["layers"]:
        keys = ["name", "shape", "spatial_density", "winograd_density", "bits_per_weight"]
        assert list(layer) == keys
        w = weights[f"{layer['name']}.weight"]
        assert tuple(layer["shape"]) == w.shape
        assert layer["spatial_density"] == np.count_nonzero(w) / w.size
        assert (layer["winograd_density"] is None) == (layer["name"] in {"down", "classes"})
        bits += layer["bits_per_weight"] * w.size
    assert 0 < bits / 8 < found["file_bytes"]


def test_inspect_deploys_in_any_winograd_set(run, model):
    """At least the share of zeros that is asked for; a threshold of 0 keeps all that a higher one keeps."""
    sparse = json.loads(run("inspect", model, "--tile", "4", "--sparsity", "0.7", "--json"))["winograd"]
    assert sparse["tile"] == 4
    assert sparse["density"] <= 0.3
    again = json.loads(run("inspect", model, "--tile", "4", "--threshold", str(sparse["threshold"]), "--json"))[
        "winograd"
    ]
    assert again == sparse
    assert json.loads(run("inspect", model, "--threshold", "0", "--json"))["winograd"]["density"] > sparse["density"]


@pytest.mark.parametrize("machine", MACHINES)
def test_inspect_machine_names_a_source_for_every_price(run, machine):
    found = strict_json(run("inspect", machine, "--json"))
    assert found["machine"] == machine
    assert found["area_mm2"] == pytest.approx(sum(found["areas_mm2"].values()))
    names = {"mac", "weight_read", "input_read", "output_write", "dram_activate", "dram_read_bit", "dram_write_io_bit"}
    assert names <= set(found["prices"])
    for price in found["prices"].values():
        assert price["value"] >= 0
        assert price["unit"].startswith("pJ")
        assert price["source"]
    text = run("inspect", machine)
    assert all(name in text for name in found["prices"])


def test_inspect_counts_lanes_and_sram(run):
    found = strict_json(run("inspect", "winograd-32x32", "--json"))
    buffers = found["parameters"]["buffers"]
    assert found["lanes"] == 1024
    assert found["sram_bytes"] == 1024 * sum(buffers[f"{b}_kb"] for b in ("weight", "input", "transformed", "output"))


def test_validate_says_how_many_answers_are_right(run, model, tmp_path):
    """Labels that are the decoded network's own answers: the spatial machine is right on all of them."""
    loaded = accelsim.load_model(model)
    with np.load(write_images(tmp_path / "random.npz")) as archive:
        pixels = archive["images"]
    answers = forward(loaded.network, loaded.network.graph.preprocessing.apply(pixels)).argmax(axis=1)
    images = write_images(tmp_path / "own.npz", answers, reference=answers)
    machines = ("spatial-16x16", "winograd-16x16")
    found = strict_json(run("validate", model, *machines, "--float", "--images", images, "--json"))
    assert list(found) == ["images", "reference_top1", "machines", "served_by_both"]
    assert found["images"] == 20
    spatial, winograd = found["machines"]
    keys = ["machine", "top1", "loss_points", "loss_standard_error", "agreement", "max_abs_error"]
    assert list(spatial) == keys
    assert (spatial["machine"], spatial["top1"]) == ("spatial-16x16", 100.0)
    assert spatial["max_abs_error"] < 1e-3 < winograd["max_abs_error"] < 10
    assert found["served_by_both"] is True

    alone = write_images(tmp_path / "alone.npz", answers)  # without the uncompressed network's answers
    found = strict_json(
        run("validate", model, "spatial-16x16", "winograd-16x16", "--images", alone, "--json", status=1)
    )
    assert [machine["loss_points"] for machine in found["machines"]] == [None, None]
    assert found["served_by_both"] is None

    right = (answers + 1) % 10  # the uncompressed network knew better
    worse = write_images(tmp_path / "worse.npz", right, reference=right)
    arguments = ("validate", model, "spatial-16x16", "winograd-16x16", "--images", worse, "--json")
    found = strict_json(run(*arguments, status=1))
    assert (found["reference_top1"], found["served_by_both"]) == (100.0, False)
    assert [machine["agreement"] for machine in found["machines"]] == [0.0, 0.0]


def test_validate_in_whole_numbers_shows_every_layer(run, model):
    """The words of each machine, and what the layers lose by them; in JSON and as a table."""
    found = strict_json(run("validate", model, "spatial-16x16", "--json", status=1))
    assert found["arithmetic"] == "integers"
    assert found["tolerance_points"] == 1.0
    (machine,) = found["machines"]
    assert [layer["name"] for layer in machine["layers"]] == [
        *("conv1", "conv2", "add", "pool", "down", "mean", "flat", "classes")
    ]
    assert sum(layer["worst"] for layer in machine["layers"]) == 1
    assert all(0 < layer["sum_bits"] <= 24 for layer in machine["layers"] if layer["largest_sum"])
    assert machine["scales"] == "the first 20 images"
    shown = run("validate", model, "spatial-16x16", status=1)
    assert "sum bits" in shown
    assert "scales from the first 20 images" in shown


def test_calibrate_keeps_scales_with_the_model(run, model, tmp_path):
    target = tmp_path / "calibrated.dual"
    images = Path(model).parent / "images.npz"
    run("calibrate", model, "spatial-16x16", "--images", images, "-o", target, "--count", "8")
    shown = run("validate", target, "spatial-16x16", "--integers", "--images", images, status=1)
    assert "scales from the file, found on 8 images" in shown
    assert "scales from the first 20 images" in run(
        "validate", target, "winograd-16x16", "--integers", "--images", images, status=1
    )


def test_validate_uses_the_sample_beside_the_model(run, model):
    assert "20 images" in run("validate", model, "spatial-16x16", status=1)  # one kind alone proves nothing of both


def test_trace_is_a_timeline_of_every_unit(run, model, tmp_path):
    path = tmp_path / "deep" / "trace.json"
    arguments = ("simulate", model, "winograd-16x16", "--trace", path, "--set", "clock_mhz=500", "--json")
    total = strict_json(run(*arguments))["total"]
    events = json.loads(path.read_text())["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert set(tracks.values()) >= {"layers", "dma", "transform", "lanes", "inverse"}
    spans: dict[str, list] = {name: [] for name in tracks.values()}
    for event in events:
        if event["ph"] == "X":
            spans[tracks[event["tid"]]].append((event["args"]["start_cycle"], event["args"]["cycles"]))
            assert event["ts"] == pytest.approx(event["args"]["start_cycle"] * 0.002)  # 500 MHz: 2 ns
            assert event["dur"] == pytest.approx(event["args"]["cycles"] * 0.002)
    for track in spans.values():  # a unit does one thing at a time
        assert all(a + n <= b for (a, n), (b, _) in pairwise(sorted(track)))
    assert sum(n for _, n in spans["layers"]) == total["cycles"]
    assert sum(n for _, n in spans["lanes"]) == total["compute_cycles"]
    assert sum(n for _, n in spans["dma"]) == total["dma_cycles"]


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "out"
    arguments = ["compare", model, "spatial-16x16", "winograd-16x16", "-o", folder, "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    return folder


def test_output_folder_holds_tables_that_equal_the_json(run, model, folder):
    printed = strict_json(run("compare", model, "spatial-16x16", "winograd-16x16", "--json"))
    with (folder / "totals.csv").open(newline="") as stream:
        totals = list(csv.DictReader(stream))
    for row, result in zip(totals, printed["results"], strict=True):
        assert row["machine"] == result["machine"]
        with (folder / row["layers_csv"]).open(newline="") as stream:
            layers = list(csv.DictReader(stream))
        for found, expected in zip([*layers, row], [*result["layers"], result["total"]], strict=True):
            for column in SUMMED:
                assert float(found[column]) == expected[column]
        assert [layer["name"] for layer in layers] == [layer["name"] for layer in result["layers"]]


def test_output_folder_holds_plots_and_a_page_that_needs_nothing_else(folder):
    for name in ("cycles", "energy", "dram", "roofline"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert ET.parse(folder / f"{name}.svg").getroot().tag.endswith("svg")
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    page = (folder / "report.html").read_text()
    for fetching in ("<link", "<img", "@import", 'src="', 'href="http', "fetch(", "XMLHttpRequest", "import("):
        assert fetching not in page
    assert "winograd-16x16" in page
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_same_comparison_gives_the_same_bytes_and_report_draws_them_again(run, model, folder, tmp_path):
    with without_pictures():
        run("compare", model, "spatial-16x16", "winograd-16x16", "-o", tmp_path / "again")
    run("report", folder, "-o", tmp_path / "redrawn")
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 3 + 1 + 15 + 1  # tables, machines, plots of three kinds, page
    tables = [name for name in files if name.endswith((".csv", ".json"))]
    for other, same in (("again", tables), ("redrawn", files)):
        assert sorted(path.name for path in (tmp_path / other).iterdir()) == files
        for name in same:
            assert (tmp_path / other / name).read_bytes() == (folder / name).read_bytes(), (other, name)


def test_tables_fit_eighty_plain_columns(run, model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = run("compare", model, *MACHINES[:5])
    assert "\x1b" not in text
    prose = ("*: fewest cycles", "bound by: ", "energy: published", "any lane finds")  # not cut in a pipe
    assert max(len(line) for line in text.splitlines() if not line.startswith(prose)) <= 80
    for machine in MACHINES[:5]:
        assert machine in text
    assert f"{PARAMETERS:,} parameters" in text


def test_the_layers_of_the_tuned_pair_stand_in_one_table(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = run("compare", RESNET20, *TUNED, "--engine", "fast")
    (head,) = [line for line in text.splitlines() if line.startswith("cycles of")]
    assert head.split() == ["cycles", "of", TUNED[0], "bound", "by", TUNED[1], "bound", "by"]
    tables = text[text.index("whole network") : text.index("*: fewest")]
    assert max(map(len, tables.splitlines())) <= 80


def test_lanes_that_choose_for_nothing_are_named(run, model):
    text = run("compare", model, "spatial-16x16", "spatial-tuned-16x16", "spatial-dense-16x16", "winograd-16x16")
    assert "any lane finds any operand at no cost (no operand_window): spatial-16x16, winograd-16x16\n" in text
    assert "at no cost" not in run("simulate", model, "spatial-tuned-16x16")


def test_sensitivity_shows_the_conclusion_under_all_tables(run, model):
    rows = strict_json(
        run("compare", model, "spatial-16x16", "winograd-16x16", "--sensitivity", "--engine", "fast", "--json")
    )
    assert [row["table"] for row in rows["sensitivity"]] == [
        "gates",
        "gates",
        "horowitz",
        "horowitz",
        "aladdin",
        "aladdin",
    ]
    totals = {result["machine"]: result["total"]["energy_pj"] for result in rows["results"]}
    for row in rows["sensitivity"]:
        assert (row["energy_pj"] == totals[row["machine"]]) == (row["table"] == "gates")
    text = run("compare", model, "spatial-16x16", "winograd-16x16", "--sensitivity", "--engine", "fast")
    assert all(f" {table} " in text for table in ("gates", "horowitz", "aladdin"))
    assert "least energy" in text
    assert "times the energy with gates" in run("simulate", model, "spatial-16x16", "--sensitivity")
    assert "sensitivity" not in strict_json(run("simulate", model, "spatial-16x16", "--json"))


def test_help_names_tables_as_inputs(capsys):
    for command in ("compare", "simulate"):
        assert main([command, "--help"]) == 0
        assert "NETWORK.csv" in capsys.readouterr().out


def test_help_fits_a_terminal_and_is_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "..." not in text.split("Commands:")[1]
    for name, _, examples in COMMANDS:
        assert main([name, "--help"]) == 0
        said = capsys.readouterr().out
        assert all(f"\n    {example}\n" in said for example in examples.split("; ") if example)
        text += said
    assert max(map(len, text.splitlines())) <= 80


def test_help_and_the_package_import_no_numpy():
    code = "import sys, accelsim, accelsim.cli; sys.exit('numpy' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_comparison_is_printed_without_pandas(model):
    code = "import sys; from accelsim.cli import main; sys.exit(main(sys.argv[1:]) or 'pandas' in sys.modules)"
    command = [sys.executable, "-c", code, "compare", str(model), "spatial-16x16", "winograd-16x16"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "fewest cycles" in done.stdout


def test_reader_that_goes_away_is_no_error(model):
    command = [sys.executable, "-m", "accelsim.cli", "simulate", str(model), "spatial-16x16", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 0


def test_interrupt_is_silent(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(accelsim, "load_workload", interrupted)
    assert main(["simulate", "x.dual", "spatial-16x16"]) == 130
    assert capsys.readouterr().err == ""


def test_shipped_model_has_the_macs_of_resnet20(run):
    """He et al. 2016: 40.55 M multiply-accumulates of the convolutions, 640 of the classifier."""
    for machine in ("spatial-16x16", "winograd-16x16"):
        result = strict_json(run("simulate", RESNET20, machine, "--engine", "fast", "--json"))
        assert sum(r["dense_macs"] for r in result["layers"] if r["kind"] == "conv") == 40_550_400
        assert result["total"]["dense_macs"] == 40_551_040
    dense = strict_json(run("simulate", RESNET20, "spatial-dense-16x16", "--engine", "fast", "--json"))["total"]
    assert dense["effectual_macs"] == 40_551_040


def test_modules_run_without_the_repository_as_working_folder(model, tmp_path):
    command = [sys.executable, "-m", "accelsim.cli", "inspect", str(Path(model)), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert strict_json(done.stdout)["parameters"] == PARAMETERS


def test_a_page_says_the_command_that_was_typed_but_for_where_its_files_go():
    typed = [
        "/usr/bin/accelsim",
        "compare",
        "a b.dual",
        "spatial-16x16",
        "-o",
        "out",
        "--set",
        "clock_mhz=400",
        "--output=x",
    ]
    assert words.typed(typed) == "accelsim compare 'a b.dual' spatial-16x16 --set clock_mhz=400"
    explore = ["/usr/bin/accelsim", "explore", "a.onnx", "--images", "b", "-o", "out"]
    assert words.typed([*explore, "--resume"]) == words.typed(explore) == "accelsim explore a.onnx --images b"
    assert words.typed(["/lib/accelsim/__main__.py", "models"]) == "accelsim models"
    assert (
        words.typed(["/lib/pytest/__main__.py", "tests"]) == words.typed(["own.py", "compare"]) == words.typed([]) == ""
    )
