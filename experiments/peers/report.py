"""Write reports/peers.md: DRAM traffic of dense ResNet-18 beside SCALE-Sim's, ZigZag's and AccelForge's, by layer.

    python -m experiments.peers.report              the page, from what the peers said (reports/peers.json)
    python -m experiments.peers.report --measure    ask them first for the layers that reports/peers.json lacks

``--measure`` runs the peers live, small layers first.  Each is installed under build/peers when first asked for;
AccelForge needs a Python 3.12 on the search path.  A layer that takes more than ``--limit`` seconds of CPU is stopped,
and said to be.  Delete the file to start anew: SCALE-Sim takes ten minutes of one core, ZigZag and AccelForge two.
"""

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from accelsim.dual.model import DualModel
from accelsim.files import write_text
from accelsim.network import Network
from accelsim.network.zoo import named_graph
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from accelsim.workload import LayerWork, layer_works
from experiments.paths import REPORTS
from experiments.peers import accelforge, scale_sim, zigzag
from experiments.peers.environment import Unavailable
from experiments.peers.scale_sim_reads import padded_words, reads
from experiments.peers.traffic import Traffic

STORED = REPORTS / "peers.json"
MACHINE = "systolic-os-32x32"
LANES = (32, 32)
BUFFERS_KB = ((256, 256, 512), (32, 32, 64))  # for weights, inputs and outputs: the machine's, and an eighth of it
OPERANDS = ("input", "weight", "output")
STOPPED = "stopped_after_cpu_seconds"
PEERS = {
    "SCALE-Sim": scale_sim.REQUIREMENTS,
    "ZigZag": zigzag.REQUIREMENTS,
    "AccelForge": accelforge.REQUIREMENTS,
}


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


def ours(works: list[LayerWork], buffers_kb: Sequence[int]) -> list[dict[str, int]]:
    """DRAM bytes of each layer on our machine by operand, tiled for the least traffic."""
    sizes = [f"buffers.{name}_kb={kb}" for name, kb in zip(("weight", "input", "output"), buffers_kb, strict=True)]
    machine = load_hardware(MACHINE, ["objective=dram", *sizes])
    rows = run(works, machine, engine="fast").layers.to_dict(orient="records")
    return [{operand: int(row[f"dram_{operand}_bytes"]) for operand in OPERANDS} for row in rows]


def once(work: LayerWork) -> dict[str, int]:
    """Bytes of a layer if every operand that is used moves once; images unpadded."""
    assert work.weights is not None
    (R, S), stride = work.kernel, work.stride[0]
    height = min(work.height, work.out_height * R) if stride >= R else work.height
    width = min(work.width, work.out_width * S) if stride >= S else work.width
    inputs = work.in_channels * height * width
    return {"input": inputs, "weight": work.weights.size, "output": work.outputs}


def measured(peer: str, buffers_kb: Sequence[int]) -> dict[str, dict[str, Any]]:
    """What a peer said of each layer it was run on."""
    return {name: row for name, row in _asked(peer, buffers_kb).items() if STOPPED not in row}


def _asked(peer: str, buffers_kb: Sequence[int]) -> dict[str, dict[str, Any]]:
    """All layers that a peer was asked for, those that were stopped included."""
    runs = json.loads(STORED.read_text(encoding="utf-8"))["runs"] if STORED.exists() else []
    return next((run["layers"] for run in runs if (run["peer"], run["buffers_kb"]) == (peer, list(buffers_kb))), {})


def ask(peer: str, work: LayerWork, buffers_kb: tuple[int, int, int]) -> Traffic:
    """Run a peer on one layer.  Raises ``environment.Unavailable``; RuntimeError if the peer fails."""
    if peer == "SCALE-Sim":
        return scale_sim.simulate([work], *LANES, "output_stationary", buffers_kb)[0]
    simulate = {"ZigZag": zigzag.simulate, "AccelForge": accelforge.simulate}[peer]
    return simulate([work], buffers_kb)[0]


def measure(limit_seconds: int) -> None:
    """Run the peers on what is missing; keeps what is done after every layer.  limit_seconds: of CPU, a layer."""
    layers = sorted(distinct_layers().items(), key=lambda item: item[1][0].dense_macs)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (limit_seconds, hard))  # the peer's process inherits it
    for peer, requirements in PEERS.items():
        for buffers_kb in BUFFERS_KB:
            for name, (work, _) in layers:
                if name in _asked(peer, buffers_kb):
                    continue
                before = _children_seconds()
                try:
                    row = asdict(ask(peer, work, buffers_kb))
                    row["cpu_seconds"] = round(row["cpu_seconds"], 2)
                except (Unavailable, RuntimeError) as error:
                    if _children_seconds() - before < limit_seconds:
                        print(f"{peer}, {name}: {error}", file=sys.stderr, flush=True)
                        break
                    row = {STOPPED: limit_seconds}
                print(peer, buffers_kb, name, row, file=sys.stderr, flush=True)
                _keep(peer, requirements, buffers_kb, name, row)


def _children_seconds() -> float:
    """CPU time of the processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _keep(peer: str, requirements: Sequence[str], buffers_kb: Sequence[int], name: str, row: dict[str, Any]) -> None:
    """Add one layer to reports/peers.json."""
    content: dict[str, Any] = {"machine": MACHINE, "runs": []}
    if STORED.exists():
        content = json.loads(STORED.read_text(encoding="utf-8"))
    of_peer = [run for run in content["runs"] if (run["peer"], run["buffers_kb"]) == (peer, list(buffers_kb))]
    if not of_peer:
        of_peer = [{"peer": peer, "installed": list(requirements), "buffers_kb": list(buffers_kb), "layers": {}}]
        content["runs"] += of_peer
    of_peer[0]["layers"][name] = row
    write_text(STORED, json.dumps(content, indent=1) + "\n")


HEAD = """# DRAM traffic of dense ResNet-18 beside SCALE-Sim, ZigZag and AccelForge

Written by `python -m experiments.peers.report` from `reports/peers.json`, which its option `--measure` fills with live
runs of {versions}.

Timeloop itself is not here: PyPI has no `timeloopfe`, `pytimeloop`, `timeloop-python` or `accelergy` (its `timeloop` is
a timer of tasks), Debian 12 has no package, both last asked in November 2026; it comes as a container or is built from
its repository, which these comparisons do not presuppose. AccelForge, which its authors offer in its place, stands in.

All are given the array of `{machine}` (AccelForge, which is not asked for cycles, one multiplier), a
double-buffered memory an operand, 8-bit words and 32-bit sums. ZigZag, AccelForge and ours take the mapping with the
least DRAM traffic (ours: `objective=dram`), SCALE-Sim has one order. `least` is every operand that is used, moved once.
"""
SECTION = """
## Buffers of {buffers} KB for weights, inputs and outputs

Bytes of a layer; `times` it occurs in the network.

| layer | times | least | ours | {titles} |
|---|---|---|---|{rules}
{lines}
| ResNet-18 | | {totals} |

Above the least, in bytes:

{reasons}
"""
FOOT = """
## The reasons

- **padding**: SCALE-Sim and AccelForge have no padding of their own; their images carry it, and it is read like
  pixels. Ours and ZigZag's do not fetch it. The figure is the padded image less the image, as far as outputs reach.
- **edge**: with a stride beyond the kernel our last tile reads to the image's edge, one row and one column that no
  output uses; the others skip them.
- **again (SCALE-Sim)**: filters outside, pixels inside, and half a buffer that starts empty whenever it is full.
  `experiments/peers/scale_sim_reads.py` replays just that and counts what SCALE-Sim reports, for inputs and weights,
  in {replayed} of {replays} cases exactly. It does not choose tilings, so a buffer that just misses an operand reads
  all of it again.
- **again (ours)**: tiles of rows overlap by the kernel's edge, and what a buffer does not hold is read for each tile
  of the other operand. Tiles are nearly equal parts, the last one smaller, both outer orders; sums stay on chip.
  A tile is loaded whole; AccelForge keeps what it shares with the tile before, and so moves less in some layers.
- **again, sums (ZigZag)**: its search cuts sizes into prime factors, joins them to at most six loops (`lpf_limit`, its
  default) and gives each memory whole loops, 32 output columns side by side; a tile is a product of such factors. Where
  that does not fit, operands are read again, or unfinished sums of 4 bytes travel to DRAM and back.
- **again, sums (AccelForge)**: exhaustive, but tiles must divide the sizes, no operand may use both halves of its
  buffer (ours keeps an operand that fits the whole buffer), and unfinished sums travel to DRAM and back as bytes.
- **line (SCALE-Sim)**: of its half-full output buffer the last line of 32 words holds one and is counted whole.

Padding, edge and SCALE-Sim's reads are computed; the rest is inferred from each tool's rules.
"""


def parts(peer: str, work: LayerWork, theirs: dict[str, int]) -> dict[str, int]:
    """Bytes of a layer above the least, by reason.  theirs: what the peer moves, by operand."""
    least = once(work)
    stride = work.stride[0]
    inputs = theirs["input"] - least["input"]
    found: dict[str, int] = {}
    if peer in {"SCALE-Sim", "AccelForge"} and stride <= work.kernel[0]:
        found["padding"] = padded_words(work) - least["input"]
    elif peer == "ours" and stride > work.kernel[0]:
        found["edge"] = (work.out_height + 1) * (work.out_width + 1) * work.in_channels - least["input"]
    found["inputs again"] = inputs - sum(found.values())
    found["weights again"] = theirs["weight"] - least["weight"]
    found["line" if peer == "SCALE-Sim" else "sums"] = theirs["output"] - least["output"]
    return {reason: count for reason, count in found.items() if count}


def by_operand(row: dict[str, Any]) -> dict[str, int]:
    """Bytes of a measured layer by operand."""
    return {operand: row[f"dram_{operand}_bytes"] for operand in OPERANDS}


def section(layers: dict[str, tuple[LayerWork, int]], buffers_kb: tuple[int, int, int]) -> str:
    """The section with the tables of one size of buffers."""
    tools: dict[str, dict[str, dict[str, int]]] = {}
    tools["ours"] = dict(zip(layers, ours([work for work, _ in layers.values()], buffers_kb), strict=True))
    for peer in PEERS:
        if found := measured(peer, buffers_kb):
            tools[peer] = {name: by_operand(row) for name, row in found.items()}
    lines = []
    reasons = []
    totals = dict.fromkeys(("least", *tools), 0)
    for name, (work, count) in layers.items():
        bytes_of = {"least": sum(once(work).values())}
        bytes_of |= {tool: sum(found[name].values()) for tool, found in tools.items() if name in found}
        totals = {tool: totals[tool] + count * bytes_of.get(tool, 0) for tool in totals}
        cells = [f"{bytes_of[tool]:,}" if tool in bytes_of else _missing(tool, name, buffers_kb) for tool in totals]
        lines.append(f"| {name} | {count} | " + " | ".join(cells) + " |")
        for tool, found in tools.items():
            if name in found and (above := parts(tool, work, found[name])):
                text = ", ".join(f"{reason} {extra:+,}" for reason, extra in above.items())
                reasons.append(f"| {name} | {tool} | {text} |")
    whole = [f"{total:,}" if set(tools.get(tool, layers)) == set(layers) else "" for tool, total in totals.items()]
    return SECTION.format(
        buffers=", ".join(map(str, buffers_kb)),
        titles=" | ".join(list(tools)[1:]),
        rules="---|" * (len(tools) - 1),
        lines="\n".join(lines),
        totals=" | ".join(whole),
        reasons="\n".join(["| layer | tool | reasons |", "|---|---|---|", *reasons]),
    )


def _missing(peer: str, name: str, buffers_kb: Sequence[int]) -> str:
    """Why a peer has no figure of a layer."""
    row = _asked(peer, buffers_kb).get(name)
    return "not run" if row is None else f"stopped after {row[STOPPED]} s"


def replays() -> tuple[int, int]:
    """In how many of how many layers the replay counts exactly the reads that SCALE-Sim reports, inputs and weights."""
    layers = distinct_layers()
    right = 0
    cases = 0
    for buffers_kb in BUFFERS_KB:
        for name, row in measured("SCALE-Sim", buffers_kb).items():
            counted = reads(layers[name][0], *LANES, input_kb=buffers_kb[1], weight_kb=buffers_kb[0])
            right += counted == (row["dram_input_bytes"], row["dram_weight_bytes"])
            cases += 1
    return right, cases


def page() -> str:
    """The report."""
    layers, (replayed, cases) = distinct_layers(), replays()
    versions = ", ".join(f"{peer} {requirements[0].split('==')[1]}" for peer, requirements in PEERS.items())
    sections = [section(layers, buffers_kb) for buffers_kb in BUFFERS_KB]
    foot = FOOT.format(replayed=replayed, replays=cases)
    return HEAD.format(versions=versions, machine=MACHINE) + "".join(sections) + foot


def main() -> None:
    """Run the peers if that is asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--limit", type=int, default=900, metavar="SECONDS", help="of CPU, a layer")
    options = parser.parse_args()
    if options.measure:
        measure(options.limit)
    write_text(REPORTS / "peers.md", page())


if __name__ == "__main__":
    main()
