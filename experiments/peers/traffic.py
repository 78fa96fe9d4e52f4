"""DRAM traffic of layers as a peer counts it: the question in plain data, the peer's answer from its own Python."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.workload import LayerWork
from experiments.peers.worker import run_worker


@dataclass(frozen=True)
class Traffic:
    """Bytes from and to DRAM of one layer with words of 8 bits, by operand.

    cpu_seconds: of the search for its mapping, start of Python not counted.
    """

    dram_input_bytes: int
    dram_weight_bytes: int
    dram_output_bytes: int
    cpu_seconds: float


def shape(work: LayerWork) -> dict[str, int]:
    """What a peer has to know of a layer.  Raises ValueError for layers without weights, with groups or several images.

    H, W: of the inputs, padding left out; P, Q: of the outputs.
    """
    uneven = work.stride[0] != work.stride[1] or work.padding[0] != work.padding[1]
    if work.weights is None or work.groups > 1 or work.batch > 1 or uneven:
        raise ValueError(f"{work.name}: not a layer for the peers")
    R, S = work.kernel
    return {
        "K": work.out_channels,
        "C": work.in_channels,
        "P": work.out_height,
        "Q": work.out_width,
        "R": R,
        "S": S,
        "stride": work.stride[0],
        "padding": work.padding[0],
        "H": work.height,
        "W": work.width,
    }


def ask(interpreter: Path, worker: Path, works: Sequence[LayerWork], buffers_kb: tuple[int, int, int]) -> list[Traffic]:
    """The traffic of the layers by a peer's worker.  Raises RuntimeError if it fails.

    buffers_kb: for weights, inputs and outputs.
    """
    job = {"buffers_kb": buffers_kb, "layers": [shape(work) for work in works]}
    return [Traffic(**row) for row in run_worker(interpreter, worker, {"job.json": json.dumps(job)})]
