"""Depth-first stacks beside Stream (Symons et al.), run live on the FSRCNN of its examples (reports/stream.json).

Ours runs on the machine of ``experiments.comparisons.defines``, which has as many multipliers and as much memory, and
looks for the least traffic.  Stream takes the network's input as being there, so ours is compared without it.
"""

import json

from experiments.comparisons.defines import LEVELS, network, our_bytes, rows_by_level
from experiments.comparisons.row import Row
from experiments.peers.stream import REQUIREMENTS, STORED

COMMAND = "python -m experiments.peers.stream"
COLUMNS = 960  # of the example's pixels
REMARKS = {
    "layers": "no claim of equality: its search of tilings joins loops",
    "depth-first": "weights and outputs once each, to the byte",
}


def ours(rows: int) -> dict[str, int]:
    """DRAM bytes by level but for the network's input, of which the first layer reads each byte once."""
    return {level: count - rows * COLUMNS for level, count in our_bytes(network((rows, COLUMNS), padded=True)).items()}


def rows() -> list[Row]:
    """Bytes layer by layer and depth-first, and what the one saves of the other."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    theirs = {level: stored["levels"][level]["bytes"] for level in LEVELS}
    title = f"Stream {REQUIREMENTS[0].split('==')[1]}, run live"
    what = "DRAM bytes of FSRCNN beside Stream"
    return rows_by_level(what, title, COMMAND, ours(stored["rows"]), theirs, REMARKS)
