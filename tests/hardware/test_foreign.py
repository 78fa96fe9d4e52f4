"""Machine files of other simulators: the machine that they describe, or one line that says why not."""

from pathlib import Path

import pytest

import accelsim
from accelsim.errors import InputError
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.machines.stationary import StationaryMachine

CFG = """\
[general]
run_name = mine
[architecture_presets]
ArrayHeight: 16
ArrayWidth : 8
IfmapSramSzkB: 64
FilterSramSzkB: 32
OfmapSramSzkB: 128
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth : 10
Dataflow : ws
MemoryBanks: 1
[run_presets]
InterfaceBandwidth: USER
"""
# 8 x 4 multipliers with a register of 16 bits each for weights; 8 KB for inputs and outputs together; 64 bits a cycle.
ZIGZAG = """\
name: theirs
memories:
  rf_w: {size: 16, r_bw: 8, w_bw: 8, r_cost: 0.1, w_cost: 0.1, area: 0, operands: [I2], served_dimensions: []}
  sram_w: {size: 32768, r_bw: 64, w_bw: 64, operands: [I2], served_dimensions: [D1, D2]}
  sram_a: {size: 65536, r_bw: 64, w_bw: 64, operands: [I1, O], served_dimensions: [D1, D2]}
  dram: {size: 10000000000, r_bw: 64, w_bw: 64, operands: [I1, I2, O], served_dimensions: [D1, D2]}
operational_array:
  unit_energy: 0.04
  dimensions: [D1, D2]
  sizes: [8, 4]
"""
DRAM_RATES = "r_bw: 64, w_bw: 64, operands: [I1, I2, O]"
ONE_WAY = "r_bw: 64, w_bw: 8, operands: [I1, I2, O]"
PORTS = "ports: [{bandwidth_max: 8}, {bandwidth_max: 64}], operands: [I1, I2, O]"


def loaded(tmp_path: Path, name: str, text: str, *overrides: str) -> StationaryMachine:
    (tmp_path / name).write_text(text)
    machine = load_hardware(tmp_path / name, overrides)
    assert isinstance(machine, StationaryMachine)
    return machine


def test_a_scale_sim_configuration_is_its_systolic_array(tmp_path: Path) -> None:
    machine = loaded(tmp_path, "mine.cfg", CFG)
    assert (machine.pe_array.rows, machine.pe_array.cols, machine.pe_array.feed) == (16, 8, "systolic")
    assert machine.dataflow == "weight_stationary"
    assert (machine.buffers.weight_kb, machine.buffers.input_kb, machine.buffers.output_kb) == (32, 64, 128)
    assert machine.dram.timing.bandwidth_gbs * machine.ns_per_cycle == 10  # bytes a cycle
    calculated = loaded(tmp_path, "free.cfg", CFG.replace("USER", "CALC"))
    assert calculated.dram.timing.bandwidth_gbs == float("inf")


def test_it_takes_the_cycles_of_scale_sims_closed_form(tmp_path: Path) -> None:
    """ceil(K / H) ceil(M / W) (2 H + W + P - 2) of a weight-stationary array, less the cycle that SCALE-Sim omits."""
    machine = loaded(tmp_path, "free.cfg", CFG.replace("USER", "CALC"))
    table = "name,kind,in_channels,out_channels,height,width,kernel_h,kernel_w,stride,padding,groups\n"
    (tmp_path / "net.csv").write_text(table + "one,conv,16,24,10,10,3,3,1,1,1\n")
    result = accelsim.simulate(accelsim.load_workload(tmp_path / "net.csv"), machine, engine="fast", level="layers")
    folds = 16 * 9 // 16 * (24 // 8)
    assert result.layers["compute_cycles"][0] == pytest.approx(folds * (2 * 16 + 8 + 100 - 2), abs=folds)


def test_a_zigzag_file_is_its_array_with_what_each_operand_has_on_the_chip(tmp_path: Path) -> None:
    machine = loaded(tmp_path, "theirs.yaml", ZIGZAG)
    assert machine.name == "theirs"
    assert (machine.pe_array.rows, machine.pe_array.cols) == (8, 4)
    assert machine.dataflow == "weight_stationary"
    assert machine.buffers.weight_kb == (32768 + 8 * 4 * 16) / 8 / 1024
    assert (machine.buffers.input_kb, machine.buffers.output_kb) == (4, 4)
    assert machine.dram.timing.bandwidth_gbs == 8
    held = ZIGZAG.replace("operands: [I2], served_dimensions: []", "operands: [O], served_dimensions: []")
    assert loaded(tmp_path, "os.yaml", held).dataflow == "output_stationary"
    new = ZIGZAG.replace(
        "dram: {size: 10000000000, r_bw: 64, w_bw: 64,", "dram: {size: 10000000000, ports: [{bandwidth_max: 32}],"
    )
    assert loaded(tmp_path, "new.yaml", new).dram.timing.bandwidth_gbs == 4
    for ports in ("r_port: 0, w_port: 0, rw_port: 1", "r_port: 1, w_port: 1, rw_port: 0"):  # as its own examples have
        old = ZIGZAG.replace(DRAM_RATES, f"{ports}, {DRAM_RATES}")
        assert loaded(tmp_path, "old.yaml", old).dram.timing.bandwidth_gbs == 8


def test_overrides_apply_to_them_too(tmp_path: Path) -> None:
    assert loaded(tmp_path, "mine.cfg", CFG, "clock_mhz=500", "pe_array.rows=4").pe_array.rows == 4


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.cfg", "ArrayHeight: 3\n", ["no SCALE-Sim configuration"]),
        ("b.cfg", "[general]\nrun_name = x\n", ["no section [architecture_presets]"]),
        ("c.cfg", CFG.replace("Dataflow : ws", "Dataflow : rs"), ["Dataflow: 'rs'", "os, ws, is"]),
        ("d.cfg", CFG.replace("ArrayHeight: 16", "ArrayHeight: tall"), ["ArrayHeight", "'tall'", "expected a number"]),
        ("e.cfg", CFG.replace("ArrayHeight: 16\n", ""), ["ArrayHeight", "missing"]),
        ("f.cfg", CFG + "[sparsity]\nSparsitySupport: true\n", ["SparsitySupport: 'true'", "expected False"]),
        ("g.cfg", CFG.replace("MemoryBanks: 1", "Colour: 3"), ["colour: unknown key"]),
        ("h.cfg", CFG.replace("USER", "GUESS"), ["InterfaceBandwidth", "'GUESS'", "USER or CALC"]),
        ("h2.cfg", CFG.replace("InterfaceBandwidth: USER\n", ""), ["InterfaceBandwidth: missing", "USER or CALC"]),
        ("h3.cfg", CFG.split("[run_presets]")[0], ["[run_presets] InterfaceBandwidth: missing", "USER or CALC"]),
        ("i2.yaml", ZIGZAG.replace(DRAM_RATES, f"r_bw: 8, {PORTS}"), ["dram.ports: beside r_bw"]),
        ("i3.yaml", ZIGZAG.replace(DRAM_RATES, f"rw_port: 2, {DRAM_RATES}"), ["dram: r_port, w_port, rw_port 0, 0, 2"]),
        ("i4.yaml", ZIGZAG.replace(DRAM_RATES, f"r_port: 2, w_port: 1, {DRAM_RATES}"), ["rw_port 2, 1, 0, expected"]),
        ("i.yaml", ZIGZAG.replace("sizes: [8, 4]", "sizes: [8, 4, 2]"), ["operational_array.sizes", "expected two"]),
        ("j.yaml", ZIGZAG.replace("operands: [I1, O]", "operands: [O]"), ["none on the chip holds I1"]),
        ("k.yaml", ZIGZAG.replace("r_cost", "r_cots"), ["memories.rf_w.r_cots: unknown key", "'r_cost'"]),
        ("l.yaml", ZIGZAG.replace("size: 16,", "size: -16,"), ["memories.rf_w", "size", "'-16'", "at least 1"]),
        ("n.cfg", CFG.replace("ArrayHeight: 16", "ArrayHeight: nan"), ["ArrayHeight: 'nan'", "expected a number"]),
        ("o.cfg", CFG.replace("ArrayHeight: 16", "ArrayHeight: inf"), ["ArrayHeight: 'inf'", "expected a number"]),
        ("p.cfg", CFG.replace("ArrayHeight: 16", "ArrayHeight: 1_6"), ["ArrayHeight: '1_6'", "expected a number"]),
        ("q.cfg", CFG.replace("FilterSramSzkB: 32", "FilterSramSzkB: 1e400"), ["FilterSramSzkB: '1e400'"]),
        ("r.cfg", CFG + "[nonsense]\nx: 1\n", ["[nonsense]: unknown section"]),
        ("s.cfg", CFG + "Colour: 3\n", ["[run_presets] colour: unknown key"]),
        ("t2.cfg", CFG + "[sparsity]\nSparsitySuport: true\n", ["[sparsity] sparsitysuport: unknown key"]),
        ("t3.cfg", CFG + "[layout]\nIfmapCustomLayuot: true\n", ["[layout] ifmapcustomlayuot: unknown key"]),
        ("t4.cfg", CFG + "[network_presets]\nBatch: 8\n", ["[network_presets] batch: unknown key"]),
        ("t5.cfg", CFG.replace("MemoryBanks: 1", "MyLayout: True"), ["[architecture_presets] mylayout: unknown key"]),
        ("t6.yaml", ZIGZAG.replace(DRAM_RATES, ONE_WAY), ["dram.w_bw: 8", "one rate both ways"]),
        ("t7.yaml", ZIGZAG.replace(DRAM_RATES, PORTS), ["memories.dram.ports: bandwidth_max 8, 64"]),
        ("t8.yaml", ZIGZAG.replace("size: 16,", "size: 16, latency: 100,"), ["rf_w.latency: 100", "expected 1"]),
        ("t9.yaml", ZIGZAG.replace("name: theirs", "name: null"), ["name: None, expected a text"]),
        ("t.cfg", "[DEFAULT]\nArrayHeight: 4\n" + CFG.replace("ArrayHeight: 16\n", ""), ["[DEFAULT]: unknown section"]),
        (
            "u.yaml",
            ZIGZAG.replace("dimensions: [D1, D2]\n  s", "dimensions: [D1, D1]\n  s"),
            ["dimensions", "each once"],
        ),
        (
            "ab.yaml",
            ZIGZAG.replace("dimensions: [D1, D2]\n  s", "dimensions: [D1]\n  s"),
            ["operational_array.dimensions: ['D1']", "expected two"],
        ),
        ("ac.yaml", ZIGZAG.replace("dimensions: [D1, D2]\n  s", "s"), ["operational_array.dimensions: None"]),
        ("v.yaml", ZIGZAG.replace("dimensions: [D1, D2]\n  s", "dimensions: [[1], [2]]\n  s"), ["expected names"]),
        ("w.yaml", ZIGZAG.replace("sizes: [8, 4]", "sizes: [.nan, 4]"), ["sizes: 'nan'", "expected a number"]),
        (
            "x.yaml",
            ZIGZAG.replace("operands: [I2], served_dimensions: []", "operands: [I3], served_dimensions: []"),
            ["memories.rf_w.operands: ['I3']", "I1, I2, O"],
        ),
        ("y.yaml", ZIGZAG.replace("operands: [I1, O]", "operands: [I1, I1, O]"), ["sram_a.operands", "each once"]),
        ("z.yaml", ZIGZAG.replace("operands: [I1, O]", "operands: [[I1], O]"), ["sram_a.operands", "I1, I2, O"]),
        ("aa.yaml", ZIGZAG.replace("served_dimensions: []", "served_dimensions: [{a: 1}]"), ["served_dimensions"]),
        (
            "bb.yaml",
            ZIGZAG.replace("r_bw: 64, w_bw: 64, operands: [I1, I2, O]", "ports: 5, operands: [I1, I2, O]"),
            ["memories.dram.ports: 5", "bandwidth_max"],
        ),
        ("cc.yaml", ZIGZAG + "  is_imc: true\n", ["operational_array.is_imc: unknown key"]),
        ("dd.yaml", ZIGZAG + "  input_precision: [16, 16]\n", ["input_precision: [16, 16]", "expected [8, 8]"]),
        ("m.yaml", "architecture:\n  nodes:\n  - !Container\n    name: x\n", ["Timeloop", "expected a machine file"]),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_hardware(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert all(word in message for word in words), message
