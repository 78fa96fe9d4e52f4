"""ZigZag's side, in its own Python: ``python zigzag_worker.py FOLDER``.

FOLDER/job.json -> FOLDER/result.json.  The machine: 32 x 32 multipliers over filters and output columns with an
accumulator each, a double-buffered memory an operand, and a DRAM that alone costs energy, so that the mapping of least
energy is the one of least DRAM traffic.  Sums have 32 bits until they are finished, everything else 8.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from zigzag.api import get_hardware_performance_zigzag

DRAM_BYTES = 8  # of one access
EQUATION = "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]"


def memory(bits: int, operands: list[str], ports: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A memory that costs nothing."""
    free = {"r_cost": 0.0, "w_cost": 0.0, "area": 0.0, "latency": 1, "served_dimensions": ["D1", "D2"]}
    return {"size": bits, "operands": operands, "ports": ports, **free, **more}


def port(name: str, kind: str, bits: int, allocation: list[str]) -> dict[str, Any]:
    """One port of a memory.  allocation: operands and directions."""
    return {"name": name, "type": kind, "bandwidth_min": 8, "bandwidth_max": bits, "allocation": allocation}


def buffer(kb: int, operand: str) -> dict[str, Any]:
    """The double buffer of one operand."""
    sums = operand == "O"
    reads = [f"{operand}, tl"] + ["O, th"] * sums
    writes = [f"{operand}, fh"] + ["O, fl"] * sums
    ports = [port("r_port_1", "read", 8192, reads), port("w_port_1", "write", 8192, writes)]
    return memory(8192 * kb, [operand], ports, force_double_buffering=True)


def machine(buffers_kb: list[int]) -> dict[str, Any]:
    """The accelerator as ZigZag's file describes it."""
    weight_kb, input_kb, output_kb = buffers_kb
    directions = {"I1": ("fh", "tl"), "I2": ("fh", "tl"), "O": ("fh", "tl", "fl", "th")}
    everything = [f"{operand}, {way}" for operand, ways in directions.items() for way in ways]
    accumulator = [
        port("r_port_1", "read", 32, ["O, tl"]),
        port("r_port_2", "read", 32, ["O, th"]),
        port("w_port_1", "write", 32, ["O, fh"]),
        port("w_port_2", "write", 32, ["O, fl"]),
    ]
    dram = [port("rw_port_1", "read_write", 8 * DRAM_BYTES, everything)]
    return {
        "name": "matched",
        "memories": {
            "accumulator": memory(32, ["O"], accumulator, served_dimensions=[]),
            "weights": buffer(weight_kb, "I2"),
            "inputs": buffer(input_kb, "I1"),
            "outputs": buffer(output_kb, "O"),
            "dram": memory(10**10, list(directions), dram, r_cost=1.0, w_cost=1.0),
        },
        "operational_array": {"unit_energy": 0.0, "unit_area": 0.0, "dimensions": ["D1", "D2"], "sizes": [32, 32]},
    }


def workload(layer: dict[str, int]) -> list[dict[str, Any]]:
    """One layer as ZigZag's own reader of ONNX writes it."""
    dims = {"B": 1, "K": layer["K"], "OX": layer["Q"], "OY": layer["P"], "C": layer["C"], "FX": layer["S"]}
    dims["FY"] = layer["R"]
    stride = layer["stride"]
    padding = [layer["padding"]] * 2
    return [
        {
            "id": 0,
            "name": "layer",
            "operator_type": "Conv",
            "equation": EQUATION,
            "loop_dims": list(dims),
            "loop_sizes": list(dims.values()),
            "dimension_relations": [f"ix={stride}*ox+1*fx", f"iy={stride}*oy+1*fy"],
            "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8},
            "operand_source": {"I": 0, "W": 0},
            "pr_loop_dims": ["IX", "IY"],
            "pr_loop_sizes": [layer["W"], layer["H"]],
            "padding": [padding, padding],
        }
    ]


MAPPING = [
    {
        "name": "default",
        "spatial_mapping": {"D1": ["K, 32"], "D2": ["OX, 32"]},
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
    }
]


def run(layer: dict[str, int], buffers_kb: list[int], folder: Path) -> dict[str, float]:
    """Traffic of one layer, from the energy of the DRAM by operand (one for each access)."""
    for name, content in (("machine", machine(buffers_kb)), ("layer", workload(layer)), ("mapping", MAPPING)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    start = time.process_time()
    *_, found = get_hardware_performance_zigzag(
        workload=str(folder / "layer.yaml"),
        accelerator=str(folder / "machine.yaml"),
        mapping=str(folder / "mapping.yaml"),
        opt="energy",
        dump_folder=str(folder / "out"),
        loma_show_progress_bar=False,
    )
    seconds = time.process_time() - start
    energy = {str(operand): levels[-1] for operand, levels in found[0][1][0][0].mem_energy_breakdown.items()}
    names = {"input": "I", "weight": "W", "output": "O"}
    row = {f"dram_{name}_bytes": int(DRAM_BYTES * energy[operand]) for name, operand in names.items()}
    return {**row, "cpu_seconds": seconds}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text())
    rows = [run(layer, job["buffers_kb"], place) for layer in job["layers"]]
    (place / "result.json").write_text(json.dumps(rows))
