"""scnn-like beside SCNN's published figures, with the bar of 15 % (see ``experiments/comparisons/scnn.py``)."""

import pytest

from experiments.comparisons import scnn

pytestmark = pytest.mark.slow  # half a minute; what the machine does, tests/simulator/test_cartesian.py says


def test_dense_data_run_slower_than_on_the_dense_twin() -> None:
    assert scnn.speedup("googlenet", 1.0) == pytest.approx(0.79, rel=0.15)


def test_machines_break_even_at_the_published_density() -> None:
    assert scnn.break_even() == pytest.approx(0.85, rel=0.15)


def test_a_tenth_of_weights_and_inputs() -> None:
    assert scnn.speedup("googlenet", 0.1) == pytest.approx(24, rel=0.15)


@pytest.mark.parametrize(("network", "published"), [("alexnet-han", 2.37), ("vgg16-scnn", 3.52)])
def test_speedups_of_networks(network: str, published: float) -> None:
    assert scnn.speedup(network) == pytest.approx(published, rel=0.15)
