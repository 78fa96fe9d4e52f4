"""Bounds of what a run takes: layers of too many steps are refused early, by name and number; others stay the same."""

import gc
import json
import resource
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import accelsim
from accelsim.errors import InputError
from accelsim.network.table_layer import TableLayer
from accelsim.simulator.machines.row_stationary import search as row_search
from accelsim.simulator.network import plans
from accelsim.simulator.run import run_rows
from accelsim.simulator.tiles import few_steps, rooms, search
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.workload import LayerTable, layer_works, made_once
from accelsim.workload import table as of_tables
from tests.laws import law
from tests.small_dual import ROOT

from .random_layers import layers
from .random_machines import row_machines, tiled_machines

# Kilobytes at most so far, of the program alone: what getrusage says begins with its parent's.
PEAK = "next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))"
MEGABYTE = 1 << 20


def table(*rows):
    return LayerTable("rows", tuple(TableLayer(**row) for row in rows))


def pointwise(height, width):
    """A 1 x 1 convolution of 16 channels by 16 filters."""
    row = {"name": "big", "kind": "conv", "in_channels": 16, "out_channels": 16, "height": height, "width": width}
    return layer_works(table(row | {"kernel": (1, 1)}))[0]


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ("spatial-16x16", "layer features.7 needs at least "),
        ("winograd-16x16", "layer features.0 needs at least "),
        ("eyeriss", "layer features.0 needs at least "),
        # 4096 images of 64 channels of 224 x 224, 8 bits a value, in DRAM rows of 2048 bytes: 6.4 million parts.
        ("eie-like", "layer features.4 passes "),
    ],
)
def test_layers_of_too_many_steps_are_refused_before_anything_is_simulated(machine, reason):
    line = ["simulate", "vgg16", machine, "--engine", "fast", "--batch", "4096"]
    program = f"import sys; from accelsim.cli import main; status = main(sys.argv[1:]); print({PEAK}); sys.exit(status)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", program, *line], cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert reason in done.stderr
    assert ", expected at most " in done.stderr
    assert after.ru_utime - before.ru_utime < 5
    assert int(done.stdout) < 500 * 1024  # kilobytes


def test_steps_are_counted_by_hand():
    # Inputs and outputs of 1 KB hold two tiles of 16 channels of 32 pixels.  So 2^26 pixels take 2^21 steps, and
    # 2^25 pixels the 2^20 that a schedule may have.
    machine = accelsim.load_hardware("spatial-16x16", ["buffers.input_kb=1", "buffers.output_kb=1"])
    with pytest.raises(InputError, match="layer big needs at least 2097152 steps, expected at most 1048576"):
        machine.check(pointwise(8192, 8192))
    machine.check(pointwise(4096, 8192))


@pytest.mark.parametrize("name", ["scnn-like", "eie-like"])
def test_other_families_bound_their_steps(name, monkeypatch):
    # One image is one step at least: its 16 filters and the one pixel fit.
    row = {"name": "fc", "kind": "linear", "in_channels": 16, "out_channels": 16, "height": 1, "width": 1}
    work = layer_works(table(row), batch=4)[0]
    machine = accelsim.load_hardware(name)
    machine.check(work)
    monkeypatch.setattr(few_steps, "MAX_STEPS", 3)
    for refuse in (machine.check, machine.schedule):
        with pytest.raises(InputError, match="layer fc needs at least 4 steps, expected at most 3"):
            refuse(work)


@law(60)
@given(layers(), tiled_machines())
def test_a_search_in_parts_finds_the_same_tiling(work, machine):
    def found():
        try:
            return [choose_tiling(mode, machine) for mode in machine.modes(work)]
        except InputError as fault:
            return str(fault)

    whole = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "REMEMBERED_CANDIDATES", 3)
        assert found() == whole


@law(60)
@given(layers(), row_machines())
def test_a_search_in_parts_finds_the_same_mapping(work, machine):
    assume(work.weights is not None)

    def found():
        try:
            return row_search.choose_mapping(work, machine)
        except InputError as fault:
            return str(fault)

    whole = found()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_search, "AT_ONCE", 3)
        assert found() == whole


def test_of_a_large_layer_the_cuts_with_the_fewest_steps_are_compared(monkeypatch):
    monkeypatch.setattr(few_steps, "MAX_STEPS", 10)
    machine = accelsim.load_hardware("scnn-like")
    assert few_steps.few_steps("abcde", [8, 4, 2, 11, 4], "c", machine) == ["b", "c", "e"]  # 2 + 4 + 4 = 10
    assert few_steps.few_steps("ab", [10, 10], "c", machine) == ["a"]
    with pytest.raises(InputError, match="layer c needs at least 11 steps, expected at most 10"):
        few_steps.few_steps("ab", [12, 11], "c", machine)


@law(60)
@given(layers(), tiled_machines(), st.sampled_from([1, 2, 5]))
def test_cuts_that_are_passed_over_could_not_have_won(work, machine, window):
    if (
        machine.zero_handling in {"skip_weights", "skip_both"}
        and getattr(machine, "dataflow", "") != "weight_stationary"
    ):
        machine = machine.model_copy(update={"window": window})
    try:
        found = [choose_tiling(mode, machine)[1] for mode in machine.modes(work)]
    except InputError:
        assume(False)

    def no_bounds(self):
        fits = self.rooms.fits.any(axis=(0, 3))
        shape = (len(self.candidates.filter_cuts), len(self.candidates.channel_cuts))
        return np.where(np.broadcast_to(fits, shape), 0.0, np.inf)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search._Search, "lower_bounds", no_bounds)  # so that every candidate is scored
        assert [choose_tiling(mode, machine)[1] for mode in machine.modes(work)] == found


def test_a_table_with_too_many_ways_to_cut_it_is_refused():
    row = {"name": "big", "kind": "conv", "in_channels": 1024, "out_channels": 1024, "batch": 4096}
    work = layer_works(table(row | {"height": 500, "width": 500, "kernel": (1, 1)}))[0]
    with pytest.raises(InputError, match=r"layer big has \d+ tilings to choose from, expected at most 16777216"):
        accelsim.load_hardware("spatial-16x16").check(work)


def test_weights_of_a_table_are_those_of_one_draw():
    row = {"name": "a", "kind": "conv", "in_channels": 1000, "out_channels": 1200, "height": 9, "width": 9}
    work = layer_works(table(row | {"kernel": (3, 2), "weight_density": 0.3}))[0]
    rng = np.random.default_rng((0, 0))
    expected = rng.standard_normal((1200, 1000, 3, 2), np.float32)
    expected[rng.random(expected.shape, np.float32) >= 0.3] = 0
    np.testing.assert_array_equal(work.filters(), expected)


@pytest.mark.slow
def test_the_largest_table_takes_a_gigabyte_and_a_half_at_most():
    program = (
        "import sys; from accelsim.cli import main; status = main(sys.argv[1:]); "
        f"print({PEAK}, file=sys.stderr); sys.exit(status)"
    )
    line = ["simulate", "vgg16", "spatial-16x16", "--engine", "fast", "--json"]
    done = subprocess.run([sys.executable, "-c", program, *line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stderr.splitlines()[-1]) < 1.5 * MEGABYTE  # kilobytes


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["spatial-16x16", "winograd-16x16"])
def test_a_layer_of_half_a_billion_weights_takes_a_gigabyte_and_a_half_at_most(machine, tmp_path):
    # The largest layer of SCALE-Sim's topologies/transformer/transformer_weightgrad.csv (scale-sim-v2).
    head = "Layer name, Ifmap height, ifmap width, filter height, filter width, channels, num filters, strides,"
    (tmp_path / "weightgrad.csv").write_text(f"{head}\nLayer 7, 1024, 8192, 1, 8192, 1, 65536, 1,\n")
    program = (
        "import sys; from accelsim.cli import main; status = main(sys.argv[1:]); "
        f"print({PEAK}, file=sys.stderr); sys.exit(status)"
    )
    line = ["simulate", str(tmp_path / "weightgrad.csv"), machine, "--engine", "fast", "--json"]
    done = subprocess.run([sys.executable, "-c", program, *line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stderr.splitlines()[-1]) < 1.5 * MEGABYTE  # kilobytes
    assert json.loads(done.stdout)["total"]["effectual_macs"] == 1024 * 8192 * 65536


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml")))
def test_weights_that_are_known_to_be_no_zeros_cost_as_those_that_were_looked_at(name):
    row = {"kind": "conv", "in_channels": 40, "out_channels": 24, "height": 9, "width": 8}
    kernels = {"a": (1, 1), "b": (3, 3), "c": (5, 5)}
    rows = [row | {"name": name, "kernel": kernel, "padding": kernel[0] // 2} for name, kernel in kernels.items()]
    known = list(layer_works(table(*rows)))
    assert all(work.all_nonzero for work in known)
    looked = [replace(work, weights=np.ones(work.weights.shape, np.float32), coded_bits=None) for work in known]
    machine = accelsim.load_hardware(name)
    if getattr(machine, "decoder", None) is not None:
        machine = accelsim.load_hardware(name, ["decoder=null"])
    ours, theirs = (run_rows(works, machine, "fast") for works in (known, looked))
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "hwconfigs").glob("*.yaml")))
def test_weights_go_with_their_layer(name):
    row = {"name": "c", "kind": "conv", "in_channels": 16, "out_channels": 16, "height": 8, "width": 8}
    machine = accelsim.load_hardware(name)
    gc.collect()
    gc.disable()  # what refers to itself in a circle stays
    try:
        work = layer_works(table(row | {"kernel": (3, 3), "weight_density": 0.5}))[0]
        weights = weakref.ref(work.filters())
        run_rows([work], machine, "fast")
        del work
        assert weights() is None
    finally:
        gc.enable()


def test_layers_of_a_table_of_a_billion_weights_are_not_held_together():
    row = {"kind": "linear", "in_channels": 4096, "out_channels": 11008, "height": 1, "width": 1}
    works = layer_works(table(*(row | {"name": f"fc{i}"} for i in range(32))))
    assert made_once(works) is works
    assert isinstance(made_once(layer_works(table(row | {"name": "fc", "out_channels": 8}))), tuple)


MANY_LAYERS = """
import resource, sys, accelsim
from accelsim.network.table_layer import TableLayer
from accelsim.workload import LayerTable
row = {"kind": "linear", "in_channels": 4096, "out_channels": 4096, "height": 1, "width": 1, "weight_density": 0.5}
rows = tuple(TableLayer(name=f"fc{i}", **row) for i in range(int(sys.argv[1])))
accelsim.simulate(LayerTable("many", rows), "spatial-16x16", engine="fast")
used = resource.getrusage(resource.RUSAGE_SELF)
"""


@pytest.mark.slow
def test_a_table_of_many_layers_takes_no_more_memory_and_linear_time():
    program = f"{MANY_LAYERS}print({PEAK}, used.ru_utime + used.ru_stime)"

    def run(count):
        line = [sys.executable, "-c", program, str(count)]
        return map(float, subprocess.run(line, capture_output=True, text=True, check=True).stdout.split())

    few, few_s = run(12)  # 201 million weights
    many, many_s = run(36)  # 604 million: their counts in 64 bits would take 201 MB more
    assert many < few + 100 * 1024  # kilobytes
    assert many_s < 4 * few_s


@pytest.mark.parametrize("name", ["spatial-16x16", "winograd-tuned-tiles-16x16", "eyeriss", "scnn-like", "eie-like"])
@pytest.mark.parametrize("level", ["layers", "depth-first"])
def test_what_is_given_up_between_layers_changes_no_result(name, level, monkeypatch):
    row = {"kind": "conv", "in_channels": 24, "out_channels": 24, "height": 12, "width": 12, "kernel": (3, 3)}
    densities = {"a": 0.5, "b": 1.0, "c": 0.1}
    rows = [row | {"name": name, "weight_density": density} for name, density in densities.items()]
    held = accelsim.simulate(table(*rows), name, engine="fast", level=level)
    for module, bound in [(of_tables, "HELD_WEIGHTS"), (of_tables, "DRAWN_WEIGHTS"), (plans, "PLANNED_WEIGHTS")]:
        monkeypatch.setattr(module, bound, 1)
    given_up = accelsim.simulate(table(*rows), name, engine="fast", level=level)
    pd.testing.assert_frame_equal(given_up.layers, held.layers)


def test_weights_of_which_none_is_zero_are_not_drawn_to_be_counted(monkeypatch):
    monkeypatch.setattr(of_tables, "_draw", lambda *_: pytest.fail("drawn"))
    row = {"kind": "conv", "in_channels": 24, "out_channels": 24, "height": 9, "width": 8}
    rows = [row | {"name": "a", "kernel": (3, 3), "padding": 1}, row | {"name": "b", "kernel": (1, 1)}]
    done = accelsim.simulate(table(*rows), "spatial-16x16", engine="fast").layers
    assert done.effectual_macs.tolist() == [9 * 8 * 24 * 24 * 9, 9 * 8 * 24 * 24]
    assert accelsim.simulate(table(*rows), "winograd-tuned-16x16", engine="fast").synthetic


def test_a_machine_without_the_memory_says_so_in_one_line(tmp_path):
    # 2^28 weights of 4 bytes, where the process may have 300 MB more.
    path = tmp_path / "large.csv"
    path.write_text(
        "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,weight_density\n"
        "fc,linear,16384,16384,1,1,1,1,0.5\n"
    )
    program = (
        "import resource, sys, accelsim.simulator.run; from accelsim.cli import main; "
        "pages = int(open('/proc/self/statm').read().split()[0]); "
        "most = pages * resource.getpagesize() + 300 * 2**20; "
        "resource.setrlimit(resource.RLIMIT_AS, (most, most)); sys.exit(main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", program, "simulate", str(path), "spatial-16x16", "--engine", "fast"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: too large to compute: ")
