"""Tables survive the way to disk and back; names of machines cannot leave their folder or their cell."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import accelsim
from accelsim.report.html import page
from accelsim.report.plain import to_json
from accelsim.report.tables import gather, read_csv, to_csv
from accelsim.report.terminal import show_comparison
from accelsim.report.write import write_files
from tests.laws import law
from tests.small_dual import write_small


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return accelsim.load_model(write_small(tmp_path_factory.mktemp("model") / "small.dual"))


@pytest.fixture(scope="module")
def results(model):
    return accelsim.compare(model, ["spatial-16x16", "winograd-16x16"], engine="fast")


def gathered(model, results, names=("a", "b")):
    machines = [accelsim.load_hardware(name) for name in ("spatial-16x16", "winograd-16x16")]
    renamed = [replace(result, machine=name) for result, name in zip(results, names, strict=True)]
    return gather(model, machines, renamed, overrides=["clock_mhz=800"])


def test_what_is_written_is_read_back(model, results, tmp_path):
    comparison = gathered(model, results)
    write_files(tmp_path, to_csv(comparison))
    again = read_csv(tmp_path)
    assert again.machines == ["a", "b"]
    assert again.settings == comparison.settings
    pd.testing.assert_frame_equal(again.totals[comparison.totals.columns], comparison.totals, check_dtype=False)
    for name in again.machines:
        pd.testing.assert_frame_equal(again.layers[name], comparison.layers[name], check_dtype=False)


@law(25)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
def test_any_two_names_get_two_plain_file_names(model, results, names):
    files = to_csv(gathered(model, results, names))
    assert files.keys() > {"totals.csv", "machines.json"}
    tables = files.keys() - {"machines.json"}
    assert len(tables) == 3
    for name in tables:
        assert name.endswith(".csv")
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        assert not name.startswith(".")


def test_names_cannot_write_html(model, results):
    plain = page(gathered(model, results))
    html = page(gathered(model, results, ("<script>alert(1)</script>", "a&b")))
    assert html.count("<script") == plain.count("<script") == 2
    assert html.count("</script") == 2
    assert "&lt;script&gt;" in html
    assert "a&amp;b" in html


def test_names_are_no_markup_on_the_terminal(model, results, capsys):
    named = [replace(result, machine=name) for result, name in zip(results, ("[red]x", "[/]"), strict=True)]
    show_comparison(Console(width=100, highlight=False), model, named, accelsim.ratios(named), 1)
    printed = capsys.readouterr().out
    assert "[red]x" in printed
    assert "times [red]x:" in printed


def test_every_machine_is_shown_at_any_width(model, results, capsys):
    many = [replace(results[0], machine=f"machine-{i}") for i in range(9)]
    for width in (40, 80, 200):
        show_comparison(Console(width=width, highlight=False), model, many, accelsim.ratios(many), 1)
        lines = capsys.readouterr().out.splitlines()
        heads = [line for line in lines if "machine-" in line]
        assert max(map(len, heads)) <= width
        assert max(len(line) for line in lines if set(line) == {"\N{BOX DRAWINGS LIGHT HORIZONTAL}"}) <= width
        assert all(sum(f"machine-{i}" in line for line in heads) >= 2 for i in range(9))


def test_json_has_no_infinity():
    assert (
        to_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": (2,)}) == '{"a": null, "b": [null, 1.5], "c": [2]}'
    )
