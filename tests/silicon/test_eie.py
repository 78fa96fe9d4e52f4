"""eie-like beside EIE's published load-balance efficiencies (see ``reports/comparisons/eie.py``)."""

import pytest

from reports.comparisons import eie


@pytest.mark.parametrize("name", [name for name in eie.LAYERS if name != "VGG FC6"])
def test_load_balance_is_within_five_points(name: str) -> None:
    assert eie.efficiency(name) == pytest.approx(eie.LAYERS[name][-1], abs=0.05)


def test_random_masks_of_vgg_fc6_are_more_even_than_the_trained_one() -> None:
    """The bar of five points is not met: 0.82 published; with random masks the model stays above it, by 11 at most."""
    published = eie.LAYERS["VGG FC6"][-1]
    assert published < eie.efficiency("VGG FC6") < published + 0.11


def test_published_times_of_vgg_fc6_ask_for_more_weights_than_its_published_densities() -> None:
    """With all PEs busy: half as much again as a random mask of these densities holds, padding included.

    Of the other layers none is further away than a fifth.
    """
    ratio = {name: published / eie.simulate(name)[1] for name, published in eie.BUSY_US.items()}
    assert ratio.pop("VGG FC6") > 1.4
    assert all(0.9 < value < 1.2 for value in ratio.values())


@pytest.mark.parametrize("name", eie.BUSY_US)
def test_published_times_are_the_published_efficiencies(name: str) -> None:
    actual = {"AlexNet FC6": 30.3, "AlexNet FC7": 12.2, "AlexNet FC8": 9.9} | {
        "VGG FC6": 41.9, "VGG FC7": 9.6, "VGG FC8": 8.6,
    }  # fmt: skip
    assert eie.BUSY_US[name] / actual[name] == pytest.approx(eie.LAYERS[name][-1], abs=0.006)


def test_longer_queues_balance_better() -> None:
    """Figure 8 of the paper: from about a half with one place to little gain beyond eight."""
    found = [eie.efficiency("AlexNet FC7", places) for places in (1, 2, 8, 64)]
    assert found == sorted(found)
    assert found[0] < 0.65
    assert found[3] - found[2] < 0.06
