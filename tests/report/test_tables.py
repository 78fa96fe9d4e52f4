"""Tables survive the way to disk and back; names of machines cannot leave their folder or their cell."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import accelsim
from accelsim.report.html import page
from accelsim.report.layer_facts import layer_facts
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


def test_json_says_what_the_tables_of_pandas_say(results):
    for result in results:
        content = result.to_json()
        assert content["layers"] == result.layers.to_dict(orient="records")
        assert content["total"] == result.total.to_dict()
    ratios = accelsim.ratios(results)
    assert float(ratios.loc["winograd-16x16", "cycles"]) == results[1].sums["cycles"] / results[0].sums["cycles"]


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
    show_comparison(Console(width=100, highlight=False), model, named, 1)
    printed = capsys.readouterr().out
    assert "[red]x" in printed
    assert "times [red]x:" in printed


def test_every_machine_is_shown_at_any_width(model, results, capsys):
    many = [replace(results[0], machine=f"machine-{i}") for i in range(9)]
    for width in (40, 80, 200):
        show_comparison(Console(width=width, highlight=False), model, many, 1)
        lines = capsys.readouterr().out.splitlines()
        heads = [line for line in lines if "machine-" in line]
        assert max(map(len, heads)) <= width
        assert max(len(line) for line in lines if set(line) == {"\N{BOX DRAWINGS LIGHT HORIZONTAL}"}) <= width
        assert all(sum(f"machine-{i}" in line for line in heads) >= 2 for i in range(9))


def test_json_has_no_infinity():
    assert (
        to_json({"a": float("inf"), "b": [float("nan"), 1.5], "c": (2,)}) == '{"a": null, "b": [null, 1.5], "c": [2]}'
    )


def test_layers_say_their_shapes_and_what_of_them_is_not_zero(tmp_path):
    """Shapes and densities of a table by hand; of a model, the share of its weights that are not zero."""
    head = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding,groups,weight_density\n"
    rows = "a,conv,4,8,9,7,3,3,2,1,2,0.25\nb,linear,8,10,1,1,1,1,1,0,1,0.5\n"
    (tmp_path / "net.csv").write_text(head + rows)
    facts = layer_facts(accelsim.load_workload(tmp_path / "net.csv"))
    assert facts["shape"][0] == "4x9x7 to 8x5x4, 3x3, stride 2, padding 1, 2 groups"
    assert facts["shape"][1] == "8x1x1 to 10x1x1"
    assert facts["weight_density"].tolist() == [0.25, 0.5]
    resnet = accelsim.load_model("resnet20-cifar10")
    first = layer_facts(resnet).iloc[0]
    weights = resnet.network.arrays["conv1.weight"]
    assert first["shape"] == "3x32x32 to 16x32x32, 3x3, padding 1"
    assert first["weight_density"] == pytest.approx((weights != 0).sum() / weights.size)


def altered(row, column, value):
    """A change of one cell of a table's text."""

    def change(text):
        header, *rows = [line.split(",") for line in text.splitlines()]
        rows[row][header.index(column)] = value
        return "".join(",".join(cells) + "\n" for cells in (header, *rows))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (altered(1, "tile_bytes", "many"), "row 3, column 'tile_bytes': 'many', expected a number of 0 or more"),
        (altered(0, "cycles", "inf"), "row 2, column 'cycles': 'inf'"),
        (altered(0, "cycles", "1_0"), "row 2, column 'cycles': '1_0'"),
        (altered(0, "energy_pj", "-1"), "row 2, column 'energy_pj': '-1'"),
        (lambda text: text.rsplit(",", 1)[0] + "\n", "cells, the header has"),
        (lambda text: text.replace("dma_cycles", "cycles", 1), "column 'cycles' is there twice"),
    ],
)
def test_a_table_that_was_altered_is_refused_by_row_and_column(model, results, tmp_path, change, message):
    files = to_csv(gathered(model, results))
    files["a.csv"] = change(files["a.csv"].decode()).encode()
    write_files(tmp_path, files)
    with pytest.raises(accelsim.InputError, match=message) as error:
        read_csv(tmp_path)
    assert "\n" not in str(error.value)
