"""The search for cell sizes: optimal on tables solved by hand, and never worse than one cell for all."""

import itertools

import numpy as np
import pytest

from accelsim.compression.quantize import winograd_tiles
from accelsim.compression.ratedistortion import Choice, Trial, best_cells, choices, entropy_bits, search_cells
from tests.dual.small import small_images, small_network


def test_entropy_is_shannons():
    assert entropy_bits(np.array([0, 0, 1, 2], np.int32)) == pytest.approx(4 * 1.5)
    assert entropy_bits(np.zeros(9, np.int32)) == 0


def test_bits_go_where_they_save_most_distortion():
    table = {
        "sensitive": [Choice(0.1, 100, 1.0), Choice(0.2, 60, 50.0)],
        "robust": [Choice(0.1, 100, 0.5), Choice(0.2, 60, 1.0)],
    }
    assert best_cells(table, 2.0) == {"sensitive": 0.1, "robust": 0.2}
    assert best_cells(table, 1.5) == {"sensitive": 0.1, "robust": 0.1}
    assert best_cells(table, 1000.0) == {"sensitive": 0.2, "robust": 0.2}
    assert best_cells(table, 0.0) == {"sensitive": 0.1, "robust": 0.1}


def test_the_choice_is_the_best_on_the_convex_hull():
    rng = np.random.default_rng(0)
    steps = np.arange(1, 5)
    table = {}
    for name, scale in zip("abc", rng.uniform(0.5, 20, 3), strict=True):
        table[name] = [Choice(0.1 * s, float(100 - 30 * np.log2(s)), float(scale * s * s)) for s in steps]
    for bound in (30.0, 80.0, 200.0):
        cells = best_cells(table, bound)
        found = [next(c for c in row if c.cell == cells[name]) for name, row in table.items()]
        assert sum(c.distortion for c in found) <= bound
        best = min(
            sum(c.bits for c in combination)
            for combination in itertools.product(*table.values())
            if sum(c.distortion for c in combination) <= bound
        )
        assert sum(c.bits for c in found) <= best + 30  # at most one step of one layer off the optimum


def test_the_search_costs_no_more_bits_than_the_cells_it_starts_from():
    network, x = small_network(), small_images(count=8)
    cells = {"a.weight": 0.1, "b.weight": 0.2, "c.weight": 0.05, "d.weight": 0.1}
    factors = (0.5, 1.0, 2.0)
    tiles = winograd_tiles(network.graph, 2)
    trial = Trial(network=network, images=x, threshold=0.1, tiles=tiles, winograd_sparsity=0.3)
    found = search_cells(trial, cells, factors)
    table = choices(trial, {name: [D * f for f in factors] for name, D in cells.items()})
    chosen = [next(c for c in row if c.cell == found[name]) for name, row in table.items()]
    plain = [next(c for c in row if c.cell == cells[name]) for name, row in table.items()]
    assert sum(c.bits for c in chosen) <= sum(c.bits for c in plain)
    assert sum(c.distortion for c in chosen) <= sum(c.distortion for c in plain)
    assert set(found) == set(cells)
