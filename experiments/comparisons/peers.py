"""SCALE-Sim 3, ZigZag and AccelForge, run live on dense ResNet-18 (reports/peers.json), and STONNE's total.

STONNE's was measured elsewhere.
"""

from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run
from experiments.comparisons.row import Row, compared
from experiments.peers.report import BUFFERS_KB, LANES, MACHINE, PEERS, by_operand, distinct_layers, measured, ours
from experiments.peers.scale_sim_reads import reads

STONNE_CYCLES = 2_142_348  # dense ResNet-18, convolutions and classifier, output-stationary mesh of 32 x 32
COMMAND = "python -m experiments.peers.report --measure"
REMARKS = {
    "SCALE-Sim": "no claim of equality: it does not choose tilings, its reads are replayed to the byte",
    "ZigZag": "no claim of equality: its search joins loops; ours moves {:.0f} % of its bytes in all",
    "AccelForge": "no claim of equality: its images carry padding, its tiles divide sizes; ours moves {:.0f} % in all",
}


def rows() -> list[Row]:
    """Cycles of a systolic array and of a mesh, DRAM bytes beside each peer, SCALE-Sim's reads replayed."""
    return [*_cycles(), *(row for peer in PEERS for row in _traffic(peer)), *_replay()]


def _cycles() -> list[Row]:
    """Cycles of the systolic array beside SCALE-Sim, and of the mesh beside STONNE."""
    layers = distinct_layers()
    theirs = measured("SCALE-Sim", BUFFERS_KB[0])
    chosen = [layers[name][0] for name in theirs]
    # Neither has tiles: buffers that hold whole layers.
    roomy = ["dram.type=ideal", *(f"buffers.{name}_kb={1 << 20}" for name in ("weight", "input", "output"))]
    cycles = run(chosen, load_hardware(MACHINE, roomy), engine="fast").layers["compute_cycles"]
    pairs = [(int(a), row["cycles"]) for a, row in zip(cycles, theirs.values(), strict=True)]
    works = [work for work, count in layers.values() for _ in range(count)]
    mesh = load_hardware(MACHINE, ["pe_array.feed=mesh", *roomy])
    mesh_cycles = int(run(works, mesh, engine="fast").layers["compute_cycles"].sum())
    classifier = works[-1]
    more = mesh_cycles - STONNE_CYCLES
    folds = -(-classifier.out_channels // LANES[1])
    assert (classifier.name, more) == ("fc", folds)
    remark = f"{more} cycles more, one for each of the classifier's {folds} folds; the closed form itself exactly"
    test = "python -m pytest tests/simulator/test_systolic.py"
    return [
        compared("cycles of layers of dense ResNet-18, systolic", _title("SCALE-Sim"), pairs, COMMAND),
        compared(
            "cycles of dense ResNet-18, output-stationary mesh",
            "STONNE, run elsewhere",
            [(mesh_cycles, STONNE_CYCLES)],
            test,
            remark,
        ),
    ]


def _traffic(peer: str) -> list[Row]:
    """DRAM bytes of all layers measured, with both sizes of buffers."""
    layers = distinct_layers()
    pairs = []
    for buffers_kb in BUFFERS_KB:
        theirs = measured(peer, buffers_kb)
        own = ours([layers[name][0] for name in theirs], buffers_kb) if theirs else []
        pairs += [(sum(a.values()), sum(by_operand(row).values())) for a, row in zip(own, theirs.values(), strict=True)]
    if not pairs:
        return []
    share = 100 * sum(a for a, _ in pairs) / sum(b for _, b in pairs)
    remark = f"{REMARKS[peer].format(share)}; reasons in [peers.md](peers.md)"
    what = "DRAM bytes of layers of dense ResNet-18"
    return [compared(what, _title(peer), pairs, COMMAND, remark)]


def _replay() -> list[Row]:
    """What SCALE-Sim reads from DRAM, by our account of its buffers."""
    layers = distinct_layers()
    pairs = []
    for buffers_kb in BUFFERS_KB:
        for name, row in measured("SCALE-Sim", buffers_kb).items():
            inputs, weights = reads(layers[name][0], *LANES, input_kb=buffers_kb[1], weight_kb=buffers_kb[0])
            pairs += [(inputs, row["dram_input_bytes"]), (weights, row["dram_weight_bytes"])]
    remark = (
        "its order and its halves of a buffer replayed (`experiments/peers/scale_sim_reads.py`): why its bytes differ "
        "from ours"
    )
    command = "python -m experiments.validation"
    return [compared("SCALE-Sim's own DRAM reads, inputs and weights", _title("SCALE-Sim"), pairs, command, remark)]


def _title(peer: str) -> str:
    """The peer with the version that was run."""
    return f"{peer} {PEERS[peer][0].split('==')[1]}, run live"
