"""Depth-first stacks beside Stream (Symons et al.), run live on the FSRCNN of its examples (reports/stream.json).

Ours runs on the machine of ``experiments.comparisons.defines``, which has as many multipliers and as much memory, and
looks for the least traffic.  Stream takes the network's input as being there, so ours is compared without it.
"""

import json

from experiments.comparisons.defines import LEVELS, network, our_bytes
from experiments.comparisons.row import Row, compared
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
    own = ours(stored["rows"])
    title = f"Stream {REQUIREMENTS[0].split('==')[1]}, run live"
    found = [
        compared(
            f"DRAM bytes of FSRCNN beside Stream, {level}",
            title,
            [(own[level], theirs[level])],
            COMMAND,
            f"{own[level] / 1e6:.2f} for {theirs[level] / 1e6:.2f} MB; {REMARKS[level]}",
        )
        for level in LEVELS
    ]
    gain, their_gain = (count["layers"] / count["depth-first"] for count in (own, theirs))
    what = "what depth-first saves of FSRCNN's DRAM bytes, beside Stream"
    return [
        *found,
        compared(what, title, [(gain, their_gain)], COMMAND, f"{gain:.1f} for {their_gain:.1f} times fewer"),
    ]
