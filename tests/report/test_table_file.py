"""Results as CSV, Parquet and Arrow: other tools read the same table."""

import json
import sys

import pandas as pd
import pytest

import accelsim
from accelsim.cli import main

TABLE = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding\nc,conv,3,8,9,9,3,3,1,1\n"


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(TABLE + "=f,linear,8,4,1,1,1,1,1,0\n")
    return path


def test_layers_of_a_comparison_read_the_same_from_each_format(net, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    tables = {}
    for ending in ("csv", "parquet", "arrow"):
        out = tmp_path / f"layers.{ending}"
        assert main(["compare", str(net), "spatial-16x16", "winograd-16x16", "--json", "--table", str(out)]) == 0
        told = json.loads(capsys.readouterr().out)
        read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "arrow": pd.read_feather}[ending]
        tables[ending] = read(out)
    pd.testing.assert_frame_equal(tables["parquet"], tables["arrow"])
    assert list(tables["csv"].columns) == list(tables["parquet"].columns)
    assert list(tables["parquet"]["machine"]) == ["spatial-16x16"] * 2 + ["winograd-16x16"] * 2
    layers = [row for result in told["results"] for row in result["layers"]]
    for column in ("name", "cycles", "energy_pj", "dram_read_bytes"):
        assert list(tables["parquet"][column]) == [row[column] for row in layers]
    assert tables["csv"]["name"][1] == "'=f"  # a spreadsheet must not take it for a formula


def test_metadata_say_what_ran(net, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = accelsim.simulate(net, "spatial-16x16", engine="fast")
    path = accelsim.write_table(result, tmp_path / "x.parquet")
    facts = json.loads(parquet.read_schema(path).metadata[b"accelsim"])["results"][0]
    assert facts["machine"] == "spatial-16x16"
    assert facts["total"]["cycles"] == int(result.total["cycles"])
    assert facts["synthetic"] is True


def test_an_ending_that_is_none_is_told_before_the_run(net, tmp_path, capsys):
    assert main(["simulate", str(net), "spatial-16x16", "--table", str(tmp_path / "x.xlsx")]) == 2
    assert "ending '.xlsx', expected one of .csv, .parquet, .arrow" in capsys.readouterr().err


def test_without_pyarrow_it_is_told_how_to_get_it(net, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["simulate", str(net), "spatial-16x16", "--table", str(tmp_path / "x.parquet")]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()
