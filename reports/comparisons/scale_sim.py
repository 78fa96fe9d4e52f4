"""SCALE-Sim 3, run live on layers of dense ResNet-18 (reports/peers.json), and STONNE's total as measured elsewhere."""

import json

from accelsim.hardware.load import load_hardware
from accelsim.simulator.run import run
from reports.comparisons.row import Row, errors
from reports.peers import MACHINE, MEASURED, OPERANDS, distinct_layers, ours

STONNE_CYCLES = 2_142_348  # dense ResNet-18, convolutions and classifier, output-stationary mesh of 32 x 32


def rows() -> list[Row]:
    """Cycles of a systolic array, and DRAM bytes."""
    layers = distinct_layers()
    works = [work for work, count in layers.values() for _ in range(count)]
    roomy = [f"buffers.{name}_kb={1 << 20}" for name in ("weight", "input", "output")]
    mesh = load_hardware(MACHINE, ["pe_array.feed=mesh", "dram.type=ideal", *roomy])
    mesh_cycles = int(run(works, mesh, engine="fast").layers["compute_cycles"].sum())
    mean, worst = errors([(mesh_cycles, STONNE_CYCLES)])
    test = "python -m pytest tests/simulator/test_systolic.py"
    total = [Row("cycles of dense ResNet-18, output-stationary mesh", "STONNE, run elsewhere", 1, mean, worst, test)]
    if not MEASURED.exists():
        return total
    theirs = json.loads(MEASURED.read_text(encoding="utf-8"))
    names = [name for name in layers if name in theirs["layers"]]
    measured = [theirs["layers"][name] for name in names]
    chosen = [layers[name][0] for name in names]
    cycles = run(chosen, load_hardware(MACHINE, ["dram.type=ideal"]), engine="fast").layers["compute_cycles"]
    mean, worst = errors([(int(a), row["cycles"]) for a, row in zip(cycles, measured, strict=True)])
    peer, command = f"SCALE-Sim {theirs['peer'].split('==')[1]}, run live", "python reports/peers.py --measure"
    result = [Row("cycles of layers of dense ResNet-18, systolic", peer, len(names), mean, worst, command)]
    traffic = [
        (sum(own.values()), sum(row[f"dram_{operand}_words"] for operand in OPERANDS))
        for own, row in zip(ours(chosen, "dram"), measured, strict=True)
    ]
    mean, worst = errors(traffic)
    remark = "no claim of equality: SCALE-Sim does not choose tilings; reasons in [peers.md](peers.md)"
    result.append(Row("DRAM bytes of layers of dense ResNet-18", peer, len(names), mean, worst, command, remark))
    return [*result, *total]
