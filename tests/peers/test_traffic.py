"""DRAM traffic beside the peers: live on small layers; SCALE-Sim's reads (reports/peers.json) replayed."""

import pytest

from accelsim.workload import LayerWork, layer_works
from experiments.peers import accelforge, zigzag
from experiments.peers.environment import Unavailable
from experiments.peers.report import BUFFERS_KB, LANES, by_operand, distinct_layers, measured, ours
from experiments.peers.scale_sim_reads import padded_words, reads
from experiments.peers.traffic import Traffic, shape
from tests.simulator.random_layers import layer, random_model

ROOMY = BUFFERS_KB[0]


def sample() -> list[LayerWork]:
    """Two layers of ResNet-20, with padding: stride 1, and 2."""
    known = {work.name: work for work in layer_works(random_model("resnet20-cifar10"))}
    return [known[name] for name in ("layer3.1.conv2", "layer2.0.conv1")]


def live(peer: str) -> list[Traffic]:
    try:
        return {"zigzag": zigzag, "accelforge": accelforge}[peer].simulate(sample(), ROOMY)
    except Unavailable as error:
        pytest.skip(f"{peer} cannot be installed: {error}")


def traffic(row: Traffic) -> dict[str, int]:
    return by_operand(vars(row))


@pytest.mark.peers
def test_zigzag_moves_what_we_move_where_everything_fits() -> None:
    assert [traffic(row) for row in live("zigzag")] == ours(sample(), ROOMY)


@pytest.mark.peers
def test_accelforge_moves_the_padding_besides() -> None:
    for work, row, own in zip(sample(), live("accelforge"), ours(sample(), ROOMY), strict=True):
        padding = padded_words(work) - work.in_channels * work.height * work.width
        assert traffic(row) == {**own, "input": own["input"] + padding}


@pytest.mark.parametrize("buffers_kb", BUFFERS_KB)
@pytest.mark.parametrize("name", ["fc", "layer3.0.downsample.0", "layer4.0.downsample.0"])
def test_replayed_reads_are_those_that_scale_sim_reported(name: str, buffers_kb: tuple[int, int, int]) -> None:
    row = measured("SCALE-Sim", buffers_kb)[name]
    counted = reads(distinct_layers()[name][0], *LANES, input_kb=buffers_kb[1], weight_kb=buffers_kb[0])
    assert counted == (row["dram_input_bytes"], row["dram_weight_bytes"])


def test_a_layer_that_a_peer_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="not a layer for the peers"):
        shape(layer(8, 8, 8, 3, groups=2))
