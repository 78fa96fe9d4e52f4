"""Stream's side, in its own Python: ``python stream_worker.py FOLDER``.

FOLDER/job.json -> FOLDER/result.json.  One core of 32 x 2 x 4 x 4 multipliers over filters, channels, output columns
and rows, a memory for weights and one for maps, and a DRAM that alone costs energy, a unit a bit, so that energy counts
the bits that move.  The network is the FSRCNN of its own examples at the height that is asked for, whose own input is
taken as being there, as Stream does.  Layer by layer each layer is one node; fused, each row of its output is.
"""

import json
import logging
import sys
import time
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import stream.classes.stages
import zigzag.classes.stages
from stream.classes.hardware.architecture.accelerator import Accelerator
from stream.inputs.examples.hardware.nocs.mesh_2d import get_2d_mesh
from stream.inputs.examples.workload.fsrcnn import workload
from zigzag.classes.hardware.architecture.core import Core
from zigzag.classes.hardware.architecture.memory_hierarchy import MemoryHierarchy
from zigzag.classes.hardware.architecture.memory_instance import MemoryInstance
from zigzag.classes.hardware.architecture.operational_array import MultiplierArray
from zigzag.classes.hardware.architecture.operational_unit import Multiplier

ROWS = 540  # of the example
WORD_BITS = 64  # of every port, so that words count alike on both sides
CORE, DRAM = 0, 1
LOOPS: dict[str, list[tuple[str, str]]] = {"layers": [], "depth-first": [("OY", "all")]}  # what a node is cut by
ONE_WAY = {"fh": "w_port_1", "tl": "r_port_1", "fl": None, "th": None}
SUMS = {"fh": "w_port_1", "tl": "r_port_1", "fl": "w_port_1", "th": "r_port_1"}


def memory(name: str, bits: int, width: int, ports: tuple[int, int, int] = (1, 1, 0), cost: float = 0.0) -> Any:
    """A memory; ports: to read, to write, for both."""
    read, write, both = ports
    sizes = {"size": bits, "r_bw": width, "w_bw": width, "r_cost": cost, "w_cost": cost, "area": 0, "latency": 1}
    return MemoryInstance(name=name, r_port=read, w_port=write, rw_port=both, **sizes)


def core(buffer_kb: int) -> Any:
    """The core."""
    array = MultiplierArray(Multiplier([8, 8], 0.0, 0), {"D1": 32, "D2": 2, "D3": 4, "D4": 4})
    levels = MemoryHierarchy(operational_array=array)
    two_ways = {"fh": "w_port_1", "tl": "r_port_1", "fl": "w_port_2", "th": "r_port_2"}
    for instance, operands, ports, served in (
        (memory("weight", 8, 8), ("I2",), (ONE_WAY,), {(0, 0, 1, 0), (0, 0, 0, 1)}),
        (memory("sum", 16, 16, (2, 2, 0)), ("O",), (two_ways,), {(0, 1, 0, 0)}),
        (memory("weights", 8192 * buffer_kb, WORD_BITS), ("I2",), (ONE_WAY,), "all"),
        (memory("maps", 8192 * buffer_kb, WORD_BITS), ("I1", "O"), (ONE_WAY, SUMS), "all"),
    ):
        levels.add_memory(memory_instance=instance, operands=operands, port_alloc=ports, served_dimensions=served)
    return Core(CORE, array, levels, [{"D1": ("K", 32), "D2": ("C", 2), "D3": ("OX", 4), "D4": ("OY", 4)}])


def dram() -> Any:
    """The memory off the chip, which Stream has as a core of its own."""
    array = MultiplierArray(Multiplier([8, 8], 0.0, 0), {"D1": 1, "D2": 1})
    levels = MemoryHierarchy(operational_array=array)
    into, sums = (dict.fromkeys(ways, "rw_port_1") for ways in (("fh", "tl"), ("fh", "tl", "fl", "th")))
    levels.add_memory(
        memory_instance=memory("dram", 10**10, WORD_BITS, (0, 0, 1), cost=WORD_BITS),
        operands=("I1", "I2", "O"),
        port_alloc=({**into, "fl": None, "th": None}, {**into, "fl": None, "th": None}, sums),
        served_dimensions="all",
    )
    return Core(DRAM, array, levels)


def module(name: str, **content: Any) -> str:
    """Plain values as the module by whose name Stream asks for them."""
    made = ModuleType(name)
    vars(made).update(content)
    sys.modules[name] = made
    return name


def run(level: str, rows: int, buffer_kb: int, folder: Path) -> dict[str, float]:
    """DRAM bytes of the network."""
    network = {}
    for number, layer in workload.items():
        sizes = {**layer["loop_dim_size"], "OY": rows * layer["loop_dim_size"]["OY"] // ROWS}
        network[number] = {**deepcopy(layer), "loop_dim_size": sizes, "core_allocation": [CORE]}
    mesh = get_2d_mesh([core(buffer_kb)], 1, 1, WORD_BITS, 0, None, None, dram())
    stages = SimpleNamespace(**{**vars(zigzag.classes.stages), **vars(stream.classes.stages)})
    start = time.process_time()
    found = stages.MainStage(
        [
            stages.AcceleratorParserStage,
            stages.UserDefinedModelParserStage,
            stages.GenerateCNWorkloadHybridStage,
            stages.IntraCoreMappingStage,
            stages.InterCoreMappingStage,
        ],
        accelerator=module("one_core", accelerator=Accelerator("one core", mesh, offchip_core_id=DRAM)),
        workload_path=module("fsrcnn", workload=network),
        mapping_path=module("on_it", mapping={kind: {"core_allocation": [CORE]} for kind in ("default", "Conv")}),
        loma_lpf_limit=6,
        nb_ga_individuals=4,  # nothing to allocate on one core
        nb_ga_generations=1,
        node_hw_performances_path=str(folder / f"{level}.pickle"),
        plot_hof=False,
        plot_file_name=False,
        plot_full_schedule=False,
        plot_data_transfer=False,
        cn_define_mode=1,
        hint_loops=LOOPS[level],
        scheduler_candidate_selection="memory",
        operands_to_prefetch=[],
    ).run()
    costs = found[0][0] if isinstance(found[0], tuple | list) else found[0]
    bits = (
        costs.total_cn_offchip_memory_energy
        + costs.total_eviction_to_offchip_memory_energy
        + costs.total_sink_layer_output_offchip_memory_energy
    )
    return {"bytes": int(bits / 8), "cpu_seconds": round(time.process_time() - start, 2)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text())
    results = {level: run(level, job["rows"], job["buffer_kb"], place) for level in LOOPS}
    (place / "result.json").write_text(json.dumps(results))
