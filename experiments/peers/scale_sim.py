"""SCALE-Sim 3 beside us: the same dense layers on the same systolic array, run live in its own Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.workload import LayerWork
from experiments.peers.environment import environment
from experiments.peers.traffic import Traffic
from experiments.peers.worker import run_worker

REQUIREMENTS = ("scalesim==3.0.0", "numpy<2.4")
DATAFLOWS = {"output_stationary": "os", "weight_stationary": "ws", "input_stationary": "is"}
WORKER = Path(__file__).with_name("scale_sim_worker.py")

CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
IfmapSramSzkB = {input_kb}
FilterSramSzkB = {weight_kb}
OfmapSramSzkB = {output_kb}
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = {dataflow}
Bandwidth = 10
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


@dataclass(frozen=True)
class Measured(Traffic):
    """What SCALE-Sim says of one layer, a byte an element.  cycles: of the array, without the prefetch before it."""

    cycles: int


def python() -> Path:
    """SCALE-Sim's interpreter.  Raises ``environment.Unavailable``."""
    return environment("scalesim", REQUIREMENTS)


def topology(works: Sequence[LayerWork]) -> str:
    """The layers as SCALE-Sim's topology file; images carry their padding, as it has none of its own.

    Raises ValueError for layers without weights, with groups or with several images.
    """
    lines = ["Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"]
    for work in works:
        if work.weights is None or work.groups > 1 or work.batch > 1 or work.stride[0] != work.stride[1]:
            raise ValueError(f"{work.name}: not a layer for SCALE-Sim")
        (R, S), stride = work.kernel, work.stride[0]
        H, W = (work.out_height - 1) * stride + R, (work.out_width - 1) * stride + S
        # Names that hold "DP" mean depthwise layers, so they are numbered.
        lines.append(f"L{len(lines)}, {H}, {W}, {R}, {S}, {work.in_channels}, {work.out_channels}, {stride},")
    return "\n".join(lines) + "\n"


def simulate(
    works: Sequence[LayerWork], rows: int, cols: int, dataflow: str, buffers_kb: tuple[int, int, int] = (1 << 16,) * 3
) -> list[Measured]:
    """Run the layers on a rows x cols array.  dataflow: our name.  buffers_kb: for weights, inputs and outputs.

    Its buffers are double: half of each is filled while the other half is in use.
    Raises ``environment.Unavailable``; RuntimeError if SCALE-Sim fails.
    """
    interpreter = python()
    weight_kb, input_kb, output_kb = buffers_kb
    config = CONFIG.format(
        rows=rows, cols=cols, dataflow=DATAFLOWS[dataflow], weight_kb=weight_kb, input_kb=input_kb, output_kb=output_kb
    )
    found = run_worker(interpreter, WORKER, {"scale.cfg": config, "topology.csv": topology(works)})
    return [Measured(**row) for row in found]
