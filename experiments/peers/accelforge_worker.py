"""AccelForge's side, in its own Python: ``python accelforge_worker.py FOLDER``.

FOLDER/job.json -> FOLDER/result.json.  The machine: one multiplier, a memory of half a buffer's size an operand, and a
DRAM that alone costs energy, so that the mapping of least energy is the one of least DRAM traffic.  Sums take 32 bits
in their memory, everything else 8.  Images carry their padding, as AccelForge has none of its own.
"""

import json
import sys
import time
from pathlib import Path

import accelforge as af

DRAM = """arch:
  nodes:
  - !Memory
    name: Dram
    size: inf
    leak_power: 0
    area: 0
    tensors: {keep: All}
    actions: [{name: read, energy: 1, throughput: inf}, {name: write, energy: 1, throughput: inf}]
"""
BUFFER = """  - !Memory
    name: Buffer_{tensor}
    size: {bits}
    leak_power: 0
    area: 0
    tensors: {{keep: {tensor}}}
    bits_per_value: {{output: 32}}
    actions: [{{name: read, energy: 0, throughput: inf}}, {{name: write, energy: 0, throughput: inf}}]
"""
MULTIPLIER = """  - !Compute
    name: Multiplier
    leak_power: 0
    area: 0
    actions: [{name: compute, energy: 0, throughput: 1}]
"""
LAYER = """workload:
  bits_per_value: {{All: 8}}
  einsums:
  - einsum: "O[p, q, k] = I[c, H: p * {stride} + r, W: q * {stride} + s] * F[r, s, c, k]"
    iteration_space_shape:
    - 0 <= p < {P}
    - 0 <= q < {Q}
    - 0 <= c < {C}
    - 0 <= k < {K}
    - 0 <= r < {R}
    - 0 <= s < {S}
    renames: {{output: O, input: I, weight: F}}
"""
TENSORS = {"input": "I", "weight": "F", "output": "O"}


def run(layer: dict[str, int], buffers_kb: list[int], folder: Path) -> dict[str, float]:
    """Traffic of one layer."""
    halves = [4096 * kb for kb in buffers_kb]
    buffers = [
        BUFFER.format(tensor=name, bits=bits) for name, bits in zip(("weight", "input", "output"), halves, strict=True)
    ]
    (folder / "spec.yaml").write_text("".join([DRAM, *buffers, MULTIPLIER]) + LAYER.format(**layer))
    spec = af.Spec.from_yaml(folder / "spec.yaml")
    spec.mapper.metrics = af.Metrics.ENERGY
    spec.mapper.force_memory_hierarchy_order = False  # its buffers are beside, not above, each other
    start = time.process_time()
    mapping = spec.map_workload_to_arch(print_progress=False)
    seconds = time.process_time() - start
    bits = mapping.actions(per_component=True, per_tensor=True)
    row = {
        f"dram_{name}_bytes": int(bits["Dram", tensor, "read"] + bits["Dram", tensor, "write"]) // 8
        for name, tensor in TENSORS.items()
    }
    return {**row, "cpu_seconds": seconds}


if __name__ == "__main__":
    af.set_n_parallel_jobs(1)
    place = Path(sys.argv[1])
    job = json.loads((place / "job.json").read_text())
    rows = [run(layer, job["buffers_kb"], place) for layer in job["layers"]]
    (place / "result.json").write_text(json.dumps(rows))
