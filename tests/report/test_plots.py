"""The plots show the numbers they are drawn from, and nothing on them overlaps."""

from itertools import pairwise

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import accelsim
from accelsim.report import plots
from accelsim.report.tables import Comparison, gather
from tests.small_dual import MACHINES, write_small


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return accelsim.load_model(write_small(tmp_path_factory.mktemp("model") / "small.dual"))


@pytest.fixture(scope="module")
def shipped():
    return [accelsim.load_hardware(name) for name in MACHINES]


@pytest.fixture(scope="module")
def comparison(model, shipped):
    return gather(model, shipped, accelsim.compare(model, shipped, engine="fast"))


def some(comparison, machines, repeat=1, first=MACHINES[0]):
    """``machines`` of it from one on, their layers repeated under long names as of a deep network."""
    start = list(comparison.totals["machine"]).index(first)
    totals = comparison.totals.iloc[start : start + machines].copy()
    layers = {}
    for name in totals["machine"]:
        table = pd.concat([comparison.layers[name]] * repeat, ignore_index=True)
        table["name"] = [f"features.{i}.block.{i}.{text}" for i, text in enumerate(table["name"])]
        layers[name] = table
    return Comparison(totals, layers)


def drawn(function, comparison):
    """The figure after a draw, and its renderer."""
    with plots.style():
        figure = function(comparison)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return figure, canvas.get_renderer()


def overlap(boxes):
    return any(a.overlaps(b) for a, b in pairwise(boxes))


def test_a_reader_s_own_matplotlibrc_changes_no_picture(comparison):
    """TeX for texts, which need not be installed, and other sizes and colours."""

    def picture():
        with plots.style():
            return plots.render(plots._energy(some(comparison, 1)), "png", 40)

    plain = picture()
    own = {"text.usetex": True, "savefig.facecolor": "red", "savefig.bbox": "tight", "font.size": 30}
    with matplotlib.rc_context(own):
        assert picture() == plain
        assert matplotlib.rcParams["text.usetex"]  # and is left as it was


@pytest.mark.parametrize("function", [plots._cycles, plots._energy, plots._dram, plots._roofline])
@pytest.mark.parametrize(("machines", "repeat"), [(1, 1), (2, 5), (8, 1), pytest.param(3, 20, marks=pytest.mark.slow)])
def test_labels_neither_overlap_nor_leave_the_figure(comparison, function, machines, repeat):
    figure, renderer = drawn(function, some(comparison, machines, repeat))
    for axes in figure.axes:
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [label for label in labels if label.get_text() and label.get_visible()]
            assert not overlap([label.get_window_extent(renderer) for label in labels])
            texts += labels
        for legend in figure.legends:
            texts += legend.get_texts()
        for text in texts:
            if text.get_text():
                box = text.get_window_extent(renderer)
                assert box.x0 >= -1, text
                assert box.x1 <= figure.bbox.x1 + 1, text
                assert box.y0 >= -1, text
                assert box.y1 <= figure.bbox.y1 + 1, text


def test_bars_of_cycles_are_the_layers_cycles(comparison):
    two = some(comparison, 2, repeat=2, first="winograd-16x16")
    figure, _ = drawn(plots._cycles, two)
    widths = np.array([[bar.get_width() for bar in container] for container in figure.axes[0].containers])
    cycles = np.array([two.layers[machine]["cycles"] for machine in two.machines])
    taking = cycles.any(axis=0)  # the others ride on them
    assert 0 < taking.sum() < len(taking)
    for i, own in enumerate(cycles):
        assert (widths[2 * i] + widths[2 * i + 1] == own[taking]).all()


def test_stacks_end_at_the_totals(comparison):
    for function, columns, unit in (
        (plots._energy, ["energy_pj"], 1e6),
        (plots._dram, ["dram_read_bytes", "dram_write_bytes"], 1e6),
    ):
        figure, _ = drawn(function, comparison)
        widths = np.array([[bar.get_width() for bar in container] for container in figure.axes[0].containers])
        expected = comparison.totals[columns].sum(axis=1).to_numpy(float) / unit
        np.testing.assert_allclose(widths.sum(axis=0), expected, rtol=1e-12)


def test_no_layer_by_itself_is_above_its_machines_roof(model, shipped):
    """Nor a network as a network; one of its layers may be, whose data came while the layers before it ran."""
    whole = gather(model, shipped, accelsim.compare(model, shipped, engine="fast"))
    for i, row in enumerate(whole.totals.itertuples()):
        x, y = plots._intensity(whole.totals.iloc[[i]], "effectual_macs")
        assert (y <= np.minimum(row.lanes, x * row.dram_bytes_per_cycle)).all()
    comparison = gather(model, shipped, accelsim.compare(model, shipped, engine="fast", level="layers"))
    for row in comparison.totals.itertuples():
        x, y = plots._intensity(comparison.layers[row.machine], "effectual_macs")
        assert len(x) == 4  # the layers that multiply
        assert (y <= np.minimum(row.lanes, x * row.dram_bytes_per_cycle)).all()


def test_unlimited_memory_has_a_flat_roof(tmp_path):
    model = accelsim.load_model(write_small(tmp_path / "small.dual"))
    machine = accelsim.load_hardware("spatial-16x16", ["dram.type=ideal"])
    figure, _ = drawn(plots._roofline, gather(model, [machine], [accelsim.simulate(model, machine)]))
    (roof,) = figure.axes[0].lines
    assert (np.asarray(roof.get_ydata()) == 256).all()
    assert "unlimited" in figure.legends[0].get_texts()[-1].get_text()
