"""Layers without weights: counted by hand on 16 vector lanes, from a table of layers."""

from pathlib import Path

import pytest

import accelsim

HEADER = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding"
# Of each row: operands, elements read from DRAM and written.
LAYERS = {
    "sum,add,32,32,10,9,1,1,1,0": (2 * 2880, 2 * 2880, 2880),
    "halved,pool,32,32,10,8,2,2,2,0": (5 * 4 * 32 * 4, 10 * 8 * 32, 5 * 4 * 32),
    "windows,pool,8,8,9,9,3,3,2,1": (5 * 5 * 8 * 9, 9 * 9 * 8, 5 * 5 * 8),
    "mean,pool,48,48,7,7,7,7,1,0": (48 * 49, 7 * 7 * 48, 48),
}


@pytest.mark.parametrize("kind", ["spatial-16x16", "winograd-16x16"])
@pytest.mark.parametrize("row", LAYERS, ids=lambda row: row.split(",")[0])
@pytest.mark.parametrize("batch", [1, 3])
def test_operands_bytes_and_accesses_of_layers_without_weights(tmp_path: Path, kind: str, row: str, batch: int) -> None:
    """A lane reads one operand a cycle: two for each output of an addition, a window for each of a pool."""
    (tmp_path / "layer.csv").write_text(f"{HEADER}\n{row}\n")
    prices = [f"energy.{name}_{way}_pj_per_bit=1" for name in ("input", "output") for way in ("read", "write")]
    machine = accelsim.load_hardware(kind, ["vector_lanes=16", "dram.type=ideal", "activation_format=dense", *prices])
    operands, read, written = (batch * count for count in LAYERS[row])
    total = accelsim.simulate(
        accelsim.load_workload(tmp_path / "layer.csv"), machine, batch=batch, level="layers"
    ).total
    assert total["cycles"] == total["compute_cycles"] == -(-operands // 16)
    assert (total["dram_input_bytes"], total["dram_output_bytes"], total["dram_weight_bytes"]) == (read, written, 0)
    assert total["effectual_macs"] == total["dense_macs"] == 0
    assert total["sram_read_bytes"] == operands + written
    assert total["sram_write_bytes"] == read + written
    assert total["energy_sram_pj"] == 8 * (operands + read + 2 * written)
