"""Budgets that a file keeps to or misses are said."""

import numpy as np
import pytest

import accelsim
from accelsim.compression.budget import budget_lines, cost_reduction
from accelsim.dual.deploy import winograd_model


def card(**budget: object) -> dict[str, object]:
    return {"recipe": {"reconstruction": {"budget": budget}}}


def test_multiplies_are_counted_tile_by_tile() -> None:
    """ResNet-20 by hand: 16 taps a tile of 2 x 2 outputs, 9 weights an output elsewhere, 1 a weight of the linear."""
    model = accelsim.load_model("resnet20-cifar10")
    filters = winograd_model(model)
    left = 0
    for node in model.network.graph.nodes:
        if node.layer.op == "linear":
            left += np.count_nonzero(model.network.arrays[f"{node.name}.weight"])
        elif node.layer.op == "conv":
            side = model.network.graph.shapes[node.name][0]
            if node.name in filters:
                left += (side // 2) ** 2 * np.count_nonzero(filters[node.name])
            else:
                left += side**2 * np.count_nonzero(model.network.arrays[f"{node.name}.weight"])
    assert cost_reduction(model) == pytest.approx(40_551_040 / left, rel=1e-12)


def test_a_budget_that_is_missed_is_said_with_what_helps() -> None:
    model = accelsim.load_model("resnet20-cifar10")
    ratio = 4 * 269_722 / model.file_bytes
    kept, missed = budget_lines(model, card(ratio=20, cost_reduction=100))
    assert kept == f"ratio {ratio:.3f}, budget 20"
    assert missed.startswith("cost_reduction ")
    assert missed.endswith("budget 100: less than asked for; the key coarser, above 1, brings it nearer")


@pytest.mark.parametrize("notes", [{}, {"recipe": 3}, {"recipe": {"reconstruction": [1]}}, card(ratio="much")])
def test_a_card_without_a_budget_says_nothing(notes: dict[str, object]) -> None:
    assert budget_lines(accelsim.load_model("resnet20-cifar10"), notes) == []
