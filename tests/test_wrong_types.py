"""What Python may hand over by mistake is refused in one line, as the command line's words are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.network.table_layer import TableLayer
from accelsim.workload import LayerTable

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        *[(lambda f=f: getattr(accelsim, f)(LONG), "File name too long") for f in ("load_model", "load_workload")],
        *[(lambda f=f: getattr(accelsim, f)("x" * 256), "File name too long") for f in ("load_hardware", "inspect")],
        (lambda: accelsim.load_workload("\ud800"), "expected a path of characters"),
        *[(lambda v=v: accelsim.load_hardware("spatial-16x16", v), "expected a list of") for v in (None, 3, [3])],
        *[
            (lambda v=v: accelsim.load_hardware("spatial-16x16", (), v), "expected classes of accelsim.Machine")
            for v in (None, 3, [3], [int], "x", [accelsim.load_hardware("spatial-16x16")])
        ],
        *[(lambda v=v: accelsim.ratios(v), "expected those of one machine at least") for v in (None, [], [3], "x")],
        *[
            (lambda v=v: accelsim.verdicts(v), "expected what band returned")
            for v in (None, [], pd.DataFrame(), pd.DataFrame({"a": [1]}))
        ],
        *[
            (
                lambda v=v: accelsim.validate("resnet20-cifar10", ["spatial-16x16"], tolerance_points=v),
                "expected 0 to 100 points",
            )
            for v in ("1", [1], True, float("nan"), -1)
        ],
        *[(lambda v=v: accelsim.sample_images(v, "x"), "model ") for v in (None, 3, b"x")],
    ],
)
def test_what_is_no_argument_is_refused(call, words):
    with pytest.raises(InputError, match=words) as refused:
        call()
    assert len(str(refused.value)) < 300


SMALL = LayerTable("two", (TableLayer("a", "conv", 8, 8, 6, 6, kernel=(3, 3), padding=1),))
MACHINES = ["spatial-16x16", "winograd-16x16"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        *[
            (lambda k=k, v=v: accelsim.simulate(SMALL, "spatial-16x16", **{k: v}), words)
            for k, v, words in (
                ("engine", np.array(["fast", "event"]), "engine .*, expected event or fast"),
                ("engine", ["fast"], "engine .'fast'., expected event or fast"),
                ("level", np.array(["fused", "layers"]), "level "),
                ("level", None, "level None, expected one of depth-first, fused, layers, resident"),
                ("name", 5, "name 5, expected a text"),
                ("name", b"x", "name b'x', expected a text"),
                ("name", "a\ud800", "name .*, expected a text"),
                ("batch", np.float64(2), "batch .*, expected 1 to 4096"),
                ("batch", np.array(2), "batch .*, expected 1 to 4096"),
            )
        ],
        (lambda: accelsim.sample_images(accelsim.load_model("resnet20-cifar10"), None), "path None, expected a path"),
        (lambda: accelsim.validate("resnet20-cifar10", MACHINES, progress=5), "progress 5, expected a function"),
        (lambda: accelsim.validate("resnet20-cifar10", MACHINES, arithmetic=np.array(["a", "b"])), "arithmetic "),
        *[
            (lambda f=f, v=v: f("x.onnx", "out.dual", **v), words)
            for f in (accelsim.sparsify, accelsim.explore_network)
            for v, words in (
                ({"say": None}, "say None, expected a function"),
                ({"resume": "no"}, "resume 'no', expected True or False"),
            )
        ],
        *[
            (lambda v=v: accelsim.sparsify("x.onnx", "x.dual", **v), words)
            for v, words in (
                ({"ratio": "4"}, "ratio '4', expected a number"),
                ({"ratio": True}, "ratio True, expected a number"),
                ({"cost_reduction": [2]}, "cost_reduction .*, expected a number"),
                ({"tile": 2.5}, "tile 2.5, expected 1 to 6"),
                ({"machine": "spatial-16x16", "latency": 5}, "latency 5, expected a text"),
                ({"machine": "spatial-16x16", "energy": 5.0}, "energy 5.0, expected a text"),
            )
        ],
        *[
            (lambda k=k, v=v: accelsim.import_file("x.onnx", "x.dual", **{k: v}), words)
            for k, v, words in (
                ("mean", 0.5, "mean 0.5, expected numbers"),
                ("mean", "0.5", "mean '0.5', expected numbers"),
                ("std", (None,), "std .*, expected numbers"),
                ("std", (), "std .*, expected numbers"),
                ("input_shape", "3x8x8", "input_shape '3x8x8', expected three whole numbers"),
                ("input_shape", (3, 8), "input_shape .*, expected three whole numbers"),
                ("input_shape", (3, 8, 8.0), "input_shape 8.0, expected 1 to"),
                ("network", 3, "network 3, expected a text"),
                ("range", ["0:1"], "range .*, expected a text"),
                ("bgr", "no", "bgr 'no', expected True or False"),
                ("say", None, "say None, expected a function"),
            )
        ],
        (lambda: accelsim.inspect("resnet20-cifar10", threshold="x"), "threshold 'x', expected a number"),
        (lambda: accelsim.plots(SMALL, MACHINES, None), "results None, expected those of accelsim.compare"),
        (lambda: accelsim.plots(SMALL, MACHINES, [], batch=0), "batch 0, expected 1 to 4096"),
    ],
)
def test_words_of_another_kind_are_refused(call, words):
    with pytest.raises(InputError, match=words) as refused:
        call()
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("number", [np.uint8(255), np.int16(255), np.int64(255)])
def test_numbers_of_numpy_count_as_far_as_those_of_python(number):
    """A batch of 255 in eight bits has no room for 256 of anything."""
    plain, narrow = (
        accelsim.simulate(SMALL, "spatial-16x16", engine="fast", batch=batch).sums for batch in (255, number)
    )
    assert plain == narrow


def test_verdicts_are_of_a_whole_band_in_its_order():
    """Rows in another order gave every machine the ratio 1 in silence: the first machine's over its own."""
    cases = accelsim.band(SMALL, MACHINES)
    ratio = accelsim.verdicts(cases)[0].ratio
    energies = cases["energy_pj"][:2]
    assert ratio == energies[1] / energies[0] != 1
    for other in (
        cases.iloc[::-1],
        cases.iloc[1:],
        cases.iloc[:0],
        cases.iloc[2:],
        cases.sort_values("machine"),
        cases.assign(energy_ratio="x"),
        cases.assign(machine="x", energy_ratio=2.0),
    ):
        with pytest.raises(InputError, match="expected what band returned, all its rows in their order"):
            accelsim.verdicts(other)


def test_results_of_hostile_names_are_shown_without_their_commands():
    result = accelsim.simulate(SMALL, "spatial-16x16", engine="fast", name="<b>\x1b[2J\u202e")
    shown = result._repr_html_()
    assert "&lt;b&gt;\\x1b[2J\\u202e on spatial-16x16" in shown
    assert repr(result).startswith("Result(<b>\\x1b[2J\\u202e on spatial-16x16,")
    rows = [{**row, "name": "<i>\x1b\u202e"} for row in result.rows]
    shown = replace(result, rows=rows)._repr_html_()
    assert "&lt;i&gt;\\x1b\\u202e" in shown
    assert not any(part in shown for part in ("\x1b", "\u202e", "<i>"))
    assert "<h4>" in replace(result, rows=[])._repr_html_()
