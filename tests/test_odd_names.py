"""Files may be called anything: a name that is no text, or very long, ends up in tables and plots all the same."""

import os
import warnings
from importlib.util import find_spec

import pytest
from matplotlib.figure import Figure

import accelsim
from accelsim.names import MAX_IN_PLOT, in_plot
from accelsim.report.plots import render

TABLE = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding\nc,conv,3,4,8,8,3,3,1,1\n"


def test_a_file_name_that_is_no_text_is_shown_by_its_bytes(tmp_path):
    path = tmp_path / os.fsdecode(b"n\xff.csv")
    path.write_text(TABLE)
    machine = tmp_path / os.fsdecode(b"m\xff.yaml")
    machine.write_text((accelsim.loading.shipped.required("hwconfigs", "spatial-16x16")).read_text())
    result = accelsim.simulate(path, machine, engine="fast")
    assert (result.model, result.machine) == ("n\\udcff", "m\\udcff")
    for ending in (".csv", ".parquet", ".arrow") if find_spec("pyarrow") else (".csv",):
        accelsim.write_table(result, tmp_path / f"t{ending}")
    assert result.layers["name"].tolist() == ["c"]


@pytest.mark.parametrize("name", ["x" * 240, "$" * 240, "\N{SNOWMAN}" * 80])
def test_a_long_name_leaves_room_for_the_plot(name):
    drawn = in_plot(name)
    assert drawn.replace("\\$", "$").startswith(name[:60])
    assert drawn.replace("\\$", "$").endswith(name[-30:])
    figure = Figure(figsize=(7, 3), layout="constrained")
    figure.add_subplot().set_title(drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Glyph")
        render(figure, "png")
    assert len(in_plot("x" * 300)) == MAX_IN_PLOT
