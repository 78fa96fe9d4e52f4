"""The search for cheap words: what it finds holds, costs less, and no word of it can lose a bit more."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from accelsim.cli import app
from accelsim.datapath.calibrate import calibrate
from accelsim.datapath.execute import run_integers
from accelsim.datapath.program import build
from accelsim.datapath.validate import right_answers
from accelsim.datapath.widths import left_multiplies, search_widths
from accelsim.errors import InputError
from accelsim.hardware import gates
from accelsim.hardware.datapath import Datapath, Integers
from accelsim.network.images import write_images

from .test_whole_numbers import answered_right

MACHINES = [
    Datapath("array", "spatial"),
    Datapath("wino", "winograd", m=2, integers=Integers(transformed_bits=10)),
]
TOLERANCE = 10.0
ALL_RIGHT = np.full(len(answered_right()[1].labels), 100.0)  # of the uncompressed network


def score_with(model, images, datapath, **words):
    """Top-1 of a run apart from the search, with some words replaced."""
    narrow = replace(datapath, integers=replace(datapath.integers, **words))
    program = build(model, narrow, calibrate(model, narrow, images.pixels))
    y, _ = run_integers(program, model.network.graph.preprocessing.apply(images.pixels))
    return right_answers(images.labels, y).mean()


@pytest.mark.parametrize("datapath", MACHINES, ids=lambda d: d.kind)
def test_what_is_found_holds_and_nothing_can_lose_a_bit(datapath):
    model, images = answered_right()
    score = partial(right_answers, images.labels)
    found = search_widths(model, datapath, images.pixels, score, ALL_RIGHT, TOLERANCE)
    assert found.uniform is not None
    assert found.layers is not None
    assert found.uniform_score is not None
    assert found.layers_score is not None
    assert found.stated["weight_bits"] == 8
    assert all(found.uniform[key] <= bits for key, bits in found.stated.items())
    assert found.layers_pj <= found.uniform_pj < found.stated_pj
    assert min(found.uniform_score, found.layers_score) >= 100.0 - TOLERANCE
    assert score_with(model, images, datapath, **found.uniform) == found.uniform_score
    for key in found.uniform.keys() - {"accumulator_bits"}:
        narrower = found.uniform | {key: found.uniform[key] - 1}
        assert found.uniform[key] == 2 or score_with(model, images, datapath, **narrower) < 100.0 - TOLERANCE
    assert set(found.layers) == {"c1", "c2", "c3", "c4", "fc"}
    assert all(2 <= bits <= found.uniform["weight_bits"] for bits in found.layers.values())


def test_the_cost_is_that_of_the_multiplies_that_are_left():
    """By hand: non-zero weights times the outputs that each serves, at the energy of a lane of these widths."""
    model, images = answered_right()
    score = partial(right_answers, images.labels)
    found = search_widths(model, MACHINES[0], images.pixels, score, ALL_RIGHT, TOLERANCE)
    graph = model.network.graph
    total = 0
    for name in ("c1", "c2", "c3", "c4", "fc"):
        outputs = int(np.prod(graph.shapes[name][:-1]))
        total += outputs * np.count_nonzero(model.network.arrays[f"{name}.weight"])
    assert sum(left_multiplies(model, MACHINES[0]).values()) == pytest.approx(total)
    assert found.stated_pj == pytest.approx(total * gates.lane_energy(8, 8, 24, signed=False).busy)


def test_words_that_lose_too_much_already_are_not_narrowed():
    model, images = answered_right()
    narrow = replace(MACHINES[0], integers=Integers(weight_bits=2))
    found = search_widths(model, narrow, images.pixels, partial(right_answers, images.labels), ALL_RIGHT, 0.0)
    assert found.stated_score < 100
    assert found.uniform is None
    assert found.layers is None


def test_words_that_few_images_do_not_speak_against_are_narrowed_but_lose_no_more():
    """What ``validate`` lets pass, the search does not refuse: 1.645 standard errors are what it allows for."""
    model, images = answered_right()
    narrow = replace(MACHINES[0], integers=Integers(weight_bits=3))
    score = partial(right_answers, images.labels)
    stated = score_with(model, images, narrow) / 100
    error = 100 * np.sqrt(stated * (1 - stated) / len(ALL_RIGHT))  # of a share
    assert error > 0
    passing, failing = (100 * (1 - stated) - share * error for share in (1.6, 1.7))
    found = search_widths(model, narrow, images.pixels, score, ALL_RIGHT, passing)
    assert found.uniform is not None
    assert found.uniform_score >= found.stated_score == pytest.approx(100 * stated)
    assert found.uniform_pj < found.stated_pj
    assert search_widths(model, narrow, images.pixels, score, ALL_RIGHT, failing).uniform is None


def test_machines_without_whole_numbers_are_refused():
    model, images = answered_right()
    for datapath in (replace(MACHINES[0], number="fp16"), replace(MACHINES[0], integers=Integers(codebook_bits=16))):
        with pytest.raises(InputError, match="search-widths"):
            search_widths(model, datapath, images.pixels, partial(right_answers, images.labels), ALL_RIGHT, 1.0)


def test_the_command_prints_words_and_one_object(tmp_path: Path):
    model = Path(__file__).parents[2] / "models" / "resnet20-cifar10.dual"
    _, images = answered_right()
    rng = np.random.default_rng(2)
    few = replace(images, pixels=rng.integers(0, 256, (4, 32, 32, 3), np.uint8), labels=np.arange(4), reference=None)
    write_images(tmp_path / "few.npz", few)
    given = ["validate", str(model), "spatial-16x16", "--search-widths", "--tolerance", "100"]
    result = CliRunner().invoke(app, [*given, "--images", str(tmp_path / "few.npz"), "--json"])
    assert result.exit_code == 0, result.output
    (machine,) = json.loads(result.stdout)["machines"]
    assert machine["uniform"]["weight_bits"] == machine["uniform"]["activation_bits"] == 2  # all is allowed
    assert set(machine["layers"].values()) == {2}
    refused = CliRunner().invoke(app, [*given, "--float"])
    assert refused.exit_code != 0
