"""SCALE-Sim, run live: the cycles of sampled layers of ResNet-20 and of small random ones are ours exactly."""

import pytest

from accelsim.network.tables import read_table
from accelsim.simulator.run import run
from accelsim.workload import LayerTable, LayerWork, layer_works
from experiments.peers.environment import Unavailable
from experiments.peers.scale_sim import DATAFLOWS, python, simulate, topology
from tests.simulator.random_layers import layer, random_model, spatial
from tests.simulator.test_systolic import IDEAL

SAMPLED = ("conv1", "layer1.0.conv1", "layer2.0.conv1", "layer3.1.conv2", "linear")


@pytest.fixture(scope="module")
def scale_sim() -> None:
    try:
        python()
    except Unavailable as error:
        pytest.skip(f"SCALE-Sim cannot be installed: {error}")


def sample() -> list[LayerWork]:
    """Layers of ResNet-20, and ones whose sizes divide by nothing."""
    known = {work.name: work for work in layer_works(random_model("resnet20-cifar10"))}
    odd = [layer(13, 7, 11, 3, stride=2, padding=1), layer(5, 3, 9, 2, padding=0), layer(37, 19, 6, 1, padding=0)]
    return [known[name] for name in SAMPLED] + odd


@pytest.mark.peers
@pytest.mark.parametrize("dataflow", sorted(DATAFLOWS))
@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (8, 20)])
@pytest.mark.usefixtures("scale_sim")
def test_cycles_are_those_of_scale_sim(dataflow: str, rows: int, cols: int) -> None:
    works = sample() if (rows, cols) == (32, 32) else sample()[-4:]
    machine = spatial(dataflow=dataflow, pe_array={"rows": rows, "cols": cols, "feed": "systolic"}, **IDEAL)
    measured = simulate(works, rows, cols, dataflow)
    for work, theirs in zip(works, measured, strict=True):
        assert run([work], machine, engine="fast").total["cycles"] == theirs.cycles, work


def test_our_reader_takes_the_topology_that_scale_sim_takes(tmp_path) -> None:
    """The same layers come back: positions, filter sizes and filters; padding has become part of the image."""
    works = sample()
    (tmp_path / "topology.csv").write_text(topology(works))
    table = LayerTable("topology", read_table(tmp_path / "topology.csv"))
    for work, again in zip(works, layer_works(table), strict=True):
        assert again.weights is not None
        assert again.weights.shape == work.weights.shape
        assert (again.out_height, again.out_width) == (work.out_height, work.out_width)
        assert again.dense_macs == work.dense_macs
