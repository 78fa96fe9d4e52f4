"""Depth-first beside Stream: live on a part of its FSRCNN, and what it said of the whole (reports/stream.json)."""

import json

import pytest

from experiments.comparisons import stream as compared
from experiments.peers import stream
from experiments.peers.environment import Unavailable

WEIGHTS = 1 * 56 * 25 + 56 * 12 + 4 * 12 * 12 * 9 + 12 * 56 + 56 * 16 * 9  # of the eight layers
CHANNELS_BETWEEN = (56, 12, 12, 12, 12, 12, 56)


@pytest.mark.peers
def test_stream_fused_moves_weights_and_outputs_once_as_ours_does() -> None:
    """54 of its 540 rows."""
    pixels = 54 * 960
    try:
        theirs = {level: found["bytes"] for level, found in stream.dram_bytes(rows=54).items()}
    except Unavailable as error:
        pytest.skip(f"Stream cannot be installed: {error}")
    once = WEIGHTS + 16 * pixels
    assert theirs["depth-first"] == compared.ours(54)["depth-first"] == once
    assert theirs["layers"] >= once + 2 * pixels * sum(CHANNELS_BETWEEN)


def test_of_the_whole_network_too() -> None:
    pixels = 540 * 960
    stored = json.loads(stream.STORED.read_text())
    assert stored["rows"] == 540
    assert stored["levels"]["depth-first"]["bytes"] == WEIGHTS + 16 * pixels
