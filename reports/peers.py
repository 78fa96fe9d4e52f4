"""Write reports/peers.md: DRAM traffic of dense ResNet-18 beside SCALE-Sim's, layer by layer.

python reports/peers.py               the page, from what SCALE-Sim was measured to say (reports/peers.json)
python reports/peers.py --measure     run SCALE-Sim live on the layers that reports/peers.json lacks, small ones first
                                      (all of them take about four minutes of one core; delete the file to start anew)
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from accelsim.compression.model import DualModel  # noqa: E402
from accelsim.files import write_text  # noqa: E402
from accelsim.hardware.load import load_hardware  # noqa: E402
from accelsim.network import Network  # noqa: E402
from accelsim.network.zoo import named_graph  # noqa: E402
from accelsim.simulator.run import run  # noqa: E402
from accelsim.workload import LayerWork, layer_works  # noqa: E402
from tests.peers.scale_sim import REQUIREMENTS, simulate  # noqa: E402

MEASURED = ROOT / "reports" / "peers.json"
MACHINE = "systolic-os-32x32"
OPERANDS = ("input", "weight", "output")


def distinct_layers() -> dict[str, tuple[LayerWork, int]]:
    """ResNet-18's layers with weights by name, dense, and how often each occurs; equal ones once."""
    graph = named_graph("resnet18-folded")
    arrays = {name: np.ones(shape, np.float32) for name, shape in graph.parameters.items()}
    found: dict[Any, tuple[LayerWork, int]] = {}
    for work in layer_works(DualModel(Network(graph, arrays), {}, 0.0)):
        if work.weights is not None:
            key = (work.weights.shape, work.height, work.stride)
            first, count = found.get(key, (work, 0))
            found[key] = (first, count + 1)
    return {work.name: (work, count) for work, count in found.values()}


def ours(works: list[LayerWork], objective: str) -> list[dict[str, int]]:
    """DRAM bytes of each layer on our machine, by operand."""
    machine = load_hardware(MACHINE, [f"objective={objective}"])
    rows = run(works, machine, engine="fast").layers.to_dict(orient="records")
    return [{operand: int(row[f"dram_{operand}_bytes"]) for operand in OPERANDS} for row in rows]


def once(work: LayerWork) -> dict[str, int]:
    """Bytes if every operand that is used moves once; images unpadded."""
    assert work.weights is not None
    (R, S), stride = work.kernel, work.stride[0]
    height = min(work.height, work.out_height * R) if stride >= R else work.height
    width = min(work.width, work.out_width * S) if stride >= S else work.width
    inputs = work.in_channels * height * width
    return {"input": inputs, "weight": work.weights.size, "output": work.outputs}


def measure() -> None:
    """Run SCALE-Sim on the distinct layers with the buffers of our machine; keeps what is done after every layer."""
    buffers = load_hardware(MACHINE).buffers
    sizes = (int(buffers.weight_kb), int(buffers.input_kb), int(buffers.output_kb))
    layers = json.loads(MEASURED.read_text())["layers"] if MEASURED.exists() else {}
    waiting = {name: layer for name, layer in distinct_layers().items() if name not in layers}
    for name, (work, count) in sorted(waiting.items(), key=lambda item: item[1][0].dense_macs):
        layers[name] = {"count": count, **asdict(simulate([work], 32, 32, "output_stationary", sizes)[0])}
        print(name, layers[name], file=sys.stderr, flush=True)
        content = {"peer": REQUIREMENTS[0], "machine": MACHINE, "buffers_kb": sizes, "layers": layers}
        write_text(MEASURED, json.dumps(content, indent=1) + "\n")


HEAD = """# DRAM traffic of dense ResNet-18 beside SCALE-Sim

Written by `python reports/peers.py`. {peer} was run live on {count} of the {all} distinct layers; the array is
`{machine}`, with buffers of {buffers} KB for weights, inputs and outputs, one byte a word. Ours is
the tiling with the least traffic (`objective=dram`). Bytes; `once` is every operand that is used, moved once.

| layer | times | inputs: SCALE-Sim | ours | once | weights: SCALE-Sim | ours | once | outputs: both | reason |
|---|---|---|---|---|---|---|---|---|---|
"""

FOOT = """
Reasons are inferred from the figures and from how either tool fetches. Not run: ZigZag and Timeloop. Of ZigZag 3.9.1 on
a TPU-like machine of 32 x 32 only totals are known, measured elsewhere (3,863,768 cycles, 1.87 mJ), not DRAM traffic.
"""


def reasons(work: LayerWork, own: dict[str, int], theirs: dict[str, int]) -> str:
    """Why the bytes differ, from what is known of either model."""
    found = []
    (R, _), stride = work.kernel, work.stride[0]
    if theirs["input"] < own["input"]:
        skipped = stride > R
        found.append("we fetch pixels that the stride skips" if skipped else "our tiles overlap by the kernel's edge")
    if theirs["input"] > own["input"]:
        padded = ((work.out_height - 1) * stride + R) * ((work.out_width - 1) * stride + R) * work.in_channels
        if theirs["input"] <= padded:
            found.append("its images carry their padding")
        else:
            found.append("it reads inputs again for later filters, in one fixed order")
    if theirs["weight"] > own["weight"]:
        found.append(
            "it reads weights again for later pixels: its prefetch is one fixed order, half a buffer at a time"
        )
    return "; ".join(found) or "equal"


def page() -> str:
    """The report."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    layers = distinct_layers()
    names = [name for name in layers if name in measured["layers"]]
    lines = []
    for name, own in zip(names, ours([layers[name][0] for name in names], "dram"), strict=True):
        work, count = layers[name]
        theirs = {operand: measured["layers"][name][f"dram_{operand}_words"] for operand in OPERANDS}
        least = once(work)
        cells = [name, count]
        for operand in ("input", "weight"):
            cells += [theirs[operand], own[operand], least[operand]]
        assert theirs["output"] == own["output"]
        cells += [own["output"], reasons(work, own, theirs)]
        lines.append("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |")
    head = HEAD.format(
        peer=measured["peer"].replace("scalesim==", "SCALE-Sim "),
        count=len(names),
        all=len(layers),
        machine=measured["machine"],
        buffers=", ".join(str(size) for size in measured["buffers_kb"]),
    )
    return head + "\n".join(lines) + "\n" + FOOT


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    if parser.parse_args().measure:
        measure()
    write_text(ROOT / "reports" / "peers.md", page())
