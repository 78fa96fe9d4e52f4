"""What comes with the package is found by its bare name from any folder, and listed."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import accelsim
from accelsim import shipped
from accelsim.cli import main
from tests.small_dual import ROOT

MODEL = "resnet20-cifar10"
MACHINE = "spatial-16x16"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *arguments, status=0):
    assert main([str(a) for a in arguments]) == status
    return capsys.readouterr()


def test_a_bare_name_is_the_file_of_that_name(elsewhere):
    by_name = accelsim.simulate(MODEL, MACHINE, engine="fast")
    by_path = accelsim.simulate(
        ROOT / "models" / f"{MODEL}.dual", ROOT / "hwconfigs" / f"{MACHINE}.yaml", engine="fast"
    )
    assert by_name.to_json() == by_path.to_json()


def test_a_folder_of_ones_own_comes_first(elsewhere):
    own = elsewhere / "hwconfigs"
    own.mkdir()
    text = (ROOT / "hwconfigs" / f"{MACHINE}.yaml").read_text(encoding="utf-8")
    (own / f"{MACHINE}.yaml").write_text(text.replace("clock_mhz: 800", "clock_mhz: 123"), encoding="utf-8")
    assert accelsim.load_hardware(MACHINE).clock_mhz == 123


@pytest.mark.parametrize("name", ["../models/resnet20-cifar10", "models/resnet20-cifar10", "", ".", ".."])
def test_what_has_folders_in_it_is_no_bare_name(name, elsewhere):
    assert shipped.find("models", name) is None


@pytest.mark.parametrize(("room", "folder"), [(room, ROOT / room) for room in shipped.SUFFIXES])
def test_every_shipped_file_is_known(room, folder, elsewhere):
    expected = {path.stem for path in folder.iterdir() if path.suffix == shipped.SUFFIXES[room]}
    assert shipped.known(room).keys() == expected
    assert all(shipped.find(room, name) == folder / f"{name}{shipped.SUFFIXES[room]}" for name in expected)


def test_no_model_has_a_table_s_or_a_machine_s_name():
    rooms = [shipped.known(room).keys() for room in ("models", "workloads", "hwconfigs")]
    assert sum(map(len, rooms)) == len(set().union(*rooms))


def test_a_mistyped_model_is_refused_with_the_nearest_name(elsewhere, capsys):
    error = said(capsys, "simulate", "resnet20-cifar01", MACHINE, status=2).err
    assert error == "error: resnet20-cifar01: no such model, did you mean 'resnet20-cifar10'?\n"


def test_bare_names_of_sweeps_and_recipes_are_suggested_too(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line, words in (
        (["sweep", "resnet20-machine", "-o", "x"], "no such sweep, did you mean 'resnet20-machines'?"),
        (["train", "resnet20-joit", "-o", "x"], "no such recipe, did you mean 'resnet20-joint'?"),
        (["compress", "x", "-o", "y.dual", "--recipe", "resnet20-compres"], "did you mean 'resnet20-compress'?"),
        (["inspect", "vgg16"], "vgg16: a table of layers, without weights to look at, expected a model or a machine"),
    ):
        assert main(line) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_machines_are_listed_with_what_their_files_say(elsewhere, capsys):
    rows = json.loads(said(capsys, "machines", "--json").out)["machines"]
    assert [row["name"] for row in rows] == sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml"))
    row = next(row for row in rows if row["name"] == MACHINE)
    assert (row["lanes"], row["sram_bytes"], row["bandwidth_gbs"]) == (256, 192 * 1024, 12.8)
    assert all(row["source"] for row in rows)
    row = next(row for row in rows if row["name"] == "eyeriss")
    assert row["origin"] == "Chen et al., Eyeriss, JSSC 52(1), 2017"
    assert all(row["origin"] for row in rows)


def test_every_source_is_one_that_the_file_s_own_comment_speaks_of():
    for path in (ROOT / "hwconfigs").glob("*.yaml"):
        comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        (source,) = (line.removeprefix("# Source: ") for line in comment if line.startswith("# Source: "))
        others = " ".join(line for line in comment if "Source: " not in line)
        if not source.startswith(("own", "NVDLA")):
            assert source.split()[0] in others.replace(",", ""), path.name
            assert re.search(r"\d{4}$", source)[0] in others, path.name


def test_models_are_listed_with_what_their_cards_say(elsewhere, capsys):
    listed = json.loads(said(capsys, "models", "--json").out)
    row = next(row for row in listed["models"] if row["name"] == MODEL)
    path = ROOT / "models" / f"{MODEL}.dual"
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert row["file_bytes"] == path.stat().st_size
    for row_of_model in listed["models"]:
        card_of_it = (ROOT / "models" / f"{row_of_model['name']}.md").read_text(encoding="utf-8")
        origin, licence = row_of_model["weights"].split(",")[0], row_of_model["licence"].split(",")[0]
        assert origin.split()[0] in card_of_it.partition("| | |")[0]
        assert licence in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    assert f"{row['accuracy']['top1_reference']:.2f} %" in card
    assert {table["name"] for table in listed["tables"]} == {p.stem for p in (ROOT / "workloads").glob("*.csv")}
    assert all(re.search(r"\d{4}|alone", table["source"]) for table in listed["tables"])


@pytest.mark.parametrize("command", ["machines", "models"])
def test_lists_keep_to_eighty_columns_and_break_no_name(command, elsewhere, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, command).out
    lines = text.splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
    assert [line for line in lines if line != line.rstrip()] == []
    for name in shipped.known("hwconfigs" if command == "machines" else "models"):
        assert name in text


def test_lists_show_sources_and_licences(elsewhere, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    machines, models = (" ".join(said(capsys, command).out.split()) for command in ("machines", "models"))
    assert "[Chen et al., Eyeriss, JSSC 52(1), 2017]" in machines
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "hwconfigs").glob("*.yaml")]
    assert machines.count("[own design point]") == sum("# Source: own design point\n" in text for text in files) > 0
    assert "licence: BSD-2-Clause, LICENSE-resnet-cifar10.txt]" in models
    assert "Howard et al., arXiv:1704.04861" in models


def test_a_model_of_ones_own_without_a_card_is_listed_without_source(elsewhere, capsys):
    own = elsewhere / "models"
    own.mkdir()
    (own / "mine.dual").write_bytes((ROOT / "models" / f"{MODEL}.dual").read_bytes())
    rows = {row["name"]: row for row in json.loads(said(capsys, "models", "--json").out)["models"]}
    assert (rows["mine"]["weights"], rows["mine"]["licence"]) == ("", "")
    assert rows[MODEL]["licence"].startswith("BSD-2-Clause")


def test_an_override_of_one_machine_leaves_the_others(elsewhere, capsys):
    pair = (MODEL, "spatial-16x16", "winograd-16x16", "--engine", "fast", "--json")
    plain = json.loads(said(capsys, "compare", *pair).out)["results"]
    changed = json.loads(said(capsys, "compare", *pair, "--set", "winograd-16x16:tile=4").out)["results"]
    assert changed[0] == plain[0]
    assert changed[1]["total"]["effectual_macs"] != plain[1]["total"]["effectual_macs"]


def test_an_override_of_no_machine_is_refused(elsewhere, capsys):
    error = said(capsys, "compare", MODEL, MACHINE, "--set", "spatial-8x8:clock_mhz=1", status=2).err
    assert error == (
        "error: --set spatial-8x8:clock_mhz=1: 'spatial-8x8' is not among the machines, expected one of spatial-16x16\n"
    )


def test_the_version_is_the_installed_one(capsys):
    assert said(capsys, "--version").out == f"accelsim {version('accelsim')}\n"
    assert (Path(accelsim.__file__).parent / "__main__.py").is_file()
