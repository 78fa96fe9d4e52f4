"""What a file has of its budgets is counted by hand, and what misses one is made again."""

import numpy as np
import pytest

import accelsim
from accelsim.compression.budget import FileBudgets, budgets_of, cost_reduction
from accelsim.dual.deploy import winograd_model
from accelsim.sparsity.keeping import TRIES, Made, Share, keeping


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


def test_what_a_file_has_of_its_budgets_is_told() -> None:
    model = accelsim.load_model("resnet20-cifar10")
    ratio = 4 * 269_722 / model.file_bytes
    kept, missed = budgets_of(card(ratio=20, cost_reduction=100)).shares(model)
    assert kept.had == pytest.approx(ratio / 20)
    assert kept.told == f"{ratio:.2f} times smaller"
    assert missed.had < 1


@pytest.mark.parametrize("notes", [{}, {"recipe": 3}, {"recipe": {"reconstruction": [1]}}, card(ratio="much")])
def test_a_card_without_a_budget_asks_for_nothing(notes: dict[str, object]) -> None:
    assert budgets_of(notes) == FileBudgets()


def test_a_machines_budget_needs_somebody_who_simulates_it() -> None:
    with pytest.raises(ValueError, match="expected `accelsim compress`"):
        budgets_of(card(machine="winograd-16x16", latency="5ms"))


def had(*shares: float) -> Made[str]:
    return Made("file", [Share(share, f"{share:g}") for share in shares])


def test_what_misses_a_budget_is_made_again_to_so_much_more_of_that_one() -> None:
    asked = []
    said: list[str] = []

    def make(strain: np.ndarray) -> Made[str]:
        asked.append(strain.tolist())
        return had(2.0, 0.96 * strain[1])

    found = keeping(make, 2, said.append)
    assert found.keeps
    assert asked == [[1, 1], [1, pytest.approx(1 / (0.98 * 0.96))]]
    assert said == ["it came to 2, 0.96: again with less"]


def test_it_ends_where_nothing_more_can_be_had_or_after_some_tries() -> None:
    said: list[str] = []
    missed = keeping(lambda strain: had(0.5) if strain[0] == 1 else None, 1, said.append)
    missed.warn(said.append)
    assert said[-1] == "warning: it came to 0.5, less than asked for"
    tries = []
    keeping(lambda strain: tries.append(strain) or had(0.9), 1, said.append)
    assert len(tries) == TRIES
    assert keeping(lambda _: had(), 0, said.append).keeps
