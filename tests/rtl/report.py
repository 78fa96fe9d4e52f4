"""reports/rtl.md: what the register-transfer model and the simulator say of each case."""

from math import inf
from pathlib import Path
from typing import Any

from accelsim.files import write_bytes

HEAD = """# Simulator against register-transfer hardware

Written by `make test-rtl`: {cases} cases, each a real layer on a machine of our own in SystemVerilog
(`tests/rtl/hdl`), run by Verilator, {chains} of them chains of layers.
Weights and masks: `models/{file}` (sha256 {sha}...){others}
Inputs: what a real image gives the layer, as int8.

| what is compared, in cycles | cases | agree exactly | mean error | worst error | worst case |
|---|---|---|---|---|---|
{summary}

Every one of the {outputs} output values was compared with `accelsim.datapath.integer`, both before rounding and as
stored (int8; maps on chip as stored): {wrong} differ. Errors are |simulator - RTL| / RTL, in cycles of a whole layer.

## What is in the RTL

- `lane_array.sv`: TAP_LANES x COLS weight streams, each broadcast to ROWS lanes. SKIP = 1: compressed streams (weight
  and index, lengths in a table in front), a barrier after every filter group; SKIP = 0: dense, in lock step. It is the
  output-stationary array, and the tap-serial or tap-parallel Winograd array (machine names: taps x rows x columns).
- Operand windows (machine names: window, positions x banks): streams cut into windows, a length for each; a bank gives
  one vector a cycle to all streams that ask for it, the others wait; a barrier behind every window.
- `-streamed` (`streamed_transform.sv`): the input transform between buffer and windows, filling the next window behind
  the lanes.  `-lanes` (`lane_inverse.sv`): each lane adds its finished taps into a row of outputs and finished rows
  into the M x M; taps side by side go through an adder tree.
- `weight_stationary.sv`: dense weight-stationary array with shadow weights, loaded a row a cycle.
- `winograd_transforms.sv`: input and inverse transforms of F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3), adders and shifts only.
- `tile_control.sv`: double-buffered tile control; a DMA engine of {bandwidth} bytes a cycle that works through its
  program in order. `output_path.sv`: shift, round, saturate to int8.
- `-filtersF`, `-outputsO`: a lane sums up F filters, whose streams are merged by index, so that an operand is read once
  for all of them (and asked of its bank once, where there are windows), and O outputs, for which a weight is read once;
  their sums lie in registers of the lane.  The lanes of the reference pair are `-window144x16-filters4` of the spatial
  machine and `-window32x8-lanes-filters2` of the Winograd machines with one and with two tile sizes.  Lanes that
  transform results have one set of adders: the F sums of a finished tap are added one a cycle, behind the multiplies of
  the next tap or the start of the next step.
- `-chain`: several layers as one program of the DMA and of the units.  Feature maps lie in a memory of their own, at
  the simulator's addresses; a layer reads its inputs there, and its finished sums pass the output path (shift, round,
  saturate, ReLU) into its map.  Additions: spatial machines have 16 vector lanes behind the lanes, which take finished
  output tiles and the second operand from the map memory; Winograd machines add it behind the inverse transform.
- Buffers are behavioural arrays with as many ports as the lanes use (the simulator assumes the same): banks, bank
  conflicts and wires are in neither. Nor are DRAM rows and bursts: the DMA has bandwidth only.
- Not in the RTL, so not proved by it: bias, activation functions but for the ReLU of chains, poolings and other layers
  without weights, additions of operands in DRAM, grouped convolutions, lane queues (`window` > 1), several outputs a
  lane together with operand windows or with results transformed in the lanes, `skip_both`, gating, systolic feeds,
  input-stationary arrays, buffer capacities; stripes (`depth-first`) and batches.
- Tilings and tile order are the simulator's; the loops over tiles, the DMA program and the bytes of every tile are
  built on their own (`tests/rtl/program.py`).

## What the RTL taught the simulator

- A step (one tile of outputs x filters x channels) costs more than its multiplies: 6 cycles of start-up and drain for
  the lanes, 3 for either transform unit. Before, it cost none.
- A filter group without any weight (tap by tap, sparse layers have many) takes one cycle, not zero: its zero sums must
  be handed over.
- A weight-stationary array waits for its weights: `rows` cycles before the first pass, and max(positions, rows) a
  pass. On a fully connected layer that is up to `rows` times the cycles assumed before.
- Windows hand over in a cycle of their own where no lane has a weight in them, and a streamed step waits for its first
  window: the cycles of filling it, and two for the passes of the transform.
- A lane that adds the taps of F filters into their outputs, one a cycle, holds its next tap back only where that takes
  fewer than F cycles with all its windows; before, each window took F.
- Compressed Winograd weights need the length of each tap of each filter, so in CSR each tap is a row of its own:
  shorter indices, more row lengths.

Where cycles with the DMA still differ, the reason is bytes: the simulator counts CSR row lengths by blocks of 16
channels, the RTL's table has one length a stream.  And the last outputs of a tile stand F - 1 cycles later where lanes
transform the results of F filters, which the simulator leaves out: a cycle or two a layer.

## Chains

The level `resident`: {chains} chains of three to five layers with residual additions, maps on chip, weights fetched
early.  What the simulator decides (tilings, addresses of maps, which tiles find room beside others) is taken from it;
the order of the DMA, all waits and all integers are worked out again, on their own.  Every value of every map is
compared, as stored, when its last tile is finished: {map_bytes} with those that go to DRAM.  With as many bytes of
weights as the RTL loads, both engines of the simulator say to the cycle when the lanes are done with each layer, when
each layer's last output is finished, and when the last byte is stored: {exact} of {chains} chains.  With the
simulator's own bytes the end differs by {worst} at most.

Abstractions that both share: the map memory has as many ports as the lanes and the output path use, and the output path
has no pipeline registers.  One that they do not: the simulator spreads a layer's additions over its output tiles and
rounds their sum, the RTL's vector lanes take whole tiles, so that a tile whose outputs are no multiple of 16 would take
up to a cycle longer; there is none among these.

{chain_table}

## All cases

Cycles. lanes: the compute array, start-up and drain included. in, out: the transform units. layer: from the first byte
loaded to the last byte stored.

| layer | machine | weights kept | lanes RTL | sim | in RTL | sim | out RTL | sim | layer RTL | sim | error |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def write_report(path: Path, rows: list[dict[str, Any]], model: Any, file: str, bandwidth: int) -> None:
    """Write the report.  rows: as ``run.run_machine`` gives them."""
    chains = [row for row in rows if row["case"].machine.chain]
    rows = [row for row in rows if not row["case"].machine.chain]
    summary = []
    for title, key, wanted in (
        ("output-stationary lanes, dense", "compute", ("os", False)),
        ("output-stationary lanes, weights skipped", "compute", ("os", True)),
        ("weight-stationary array, dense", "compute", ("ws", False)),
        ("Winograd lanes, dense", "compute", ("winograd", False)),
        ("Winograd lanes, weights skipped tap by tap", "compute", ("winograd", True)),
        ("input transform unit", "transform", ("winograd", None)),
        ("inverse transform unit", "inverse", ("winograd", None)),
        ("whole layer with the DMA, dense", "cycles", (None, False)),
        ("whole layer with the DMA, weights skipped", "cycles", (None, True)),
    ):
        kind, skip = wanted
        chosen = [
            row
            for row in rows
            if kind in (None, row["case"].machine.kind) and skip in (None, row["case"].machine.skip)
            if row["model"][key] or row["rtl"][key]  # lanes that transform results, streamed inputs: no unit of its own
        ]
        errors = [error(row, key) for row in chosen]
        worst = max(range(len(chosen)), key=lambda i: errors[i])
        exact = sum(row["model"][key] == row["rtl"][key] for row in chosen)
        at = chosen[worst]["name"] if errors[worst] else "-"
        summary.append(
            f"| {title} | {len(chosen)} | {exact} | {sum(errors) / len(errors):.2%} | {errors[worst]:.2%} | {at} |"
        )
    lines = []
    for row in rows:
        case, rtl, sim = row["case"], row["rtl"], row["model"]
        pairs = " | ".join(
            f"{rtl[key]} | {sim[key]}" if case.machine.kind == "winograd" or key in ("compute", "cycles") else "- | -"
            for key in ("compute", "transform", "inverse", "cycles")
        )
        lines.append(
            f"| {case.network} {case.work.name} | {case.machine.name} | {row['kept']:.1%} | {pairs} "
            f"| {error(row, 'cycles'):.2%} |"
        )
    cut = any(row["case"].network == "resnet18" for row in rows)
    head = HEAD.format(
        others=" and\nlayers of ResNet-18 from the data folder, cut to size, 80 % of the weights pruned by magnitude."
        if cut
        else ".\nWithout the layers of ResNet-18, which need the data folder (`ACCELSIM_DATA`).",
        cases=len(rows) + len(chains),
        chains=len(chains),
        map_bytes=sum(row["rtl"]["checked"] for row in chains),
        exact=sum(row["rtl"]["cycles"] == row["exact"]["cycles"] for row in chains),
        worst=max(abs(row["rtl"]["cycles"] - row["model"]["cycles"]) for row in chains),
        chain_table=chain_table(chains),
        file=file,
        sha=model.sha256[:12],
        summary="\n".join(summary),
        outputs=sum(row["rtl"]["checked"] for row in [*rows, *chains]),
        wrong=sum(row["rtl"]["wrong"] for row in [*rows, *chains]),
        bandwidth=bandwidth,
    )
    write_bytes(path, (head + "\n".join(lines) + "\n").encode())


def chain_table(chains: list[dict[str, Any]]) -> str:
    """The chains: the units' cycles, when the lanes were done with each layer, and the whole."""
    lines = [
        "| chain | machine | weights kept | lanes RTL | sim | in RTL | sim | out or additions RTL | sim "
        "| layers done, RTL | sim | all RTL | sim |",
        "|---" * 13 + "|",
    ]
    for row in chains:
        case, rtl, sim = row["case"], row["rtl"], row["model"]
        units = " | ".join(f"{rtl[key]} | {sim[key]}" for key in ("compute", "transform", "inverse"))
        done = " | ".join(", ".join(map(str, found["computed"])) for found in (rtl, sim))
        lines.append(
            f"| {case.label} | {case.machine.name} | {row['kept']:.1%} | {units} | {done} "
            f"| {rtl['cycles']} | {sim['cycles']} |"
        )
    return "\n".join(lines)


def error(row: dict[str, Any], key: str) -> float:
    """|simulator - RTL| / RTL; 0 where both have none of it."""
    difference = abs(row["model"][key] - row["rtl"][key])
    if not row["rtl"][key]:
        return inf if difference else 0.0
    return float(difference / row["rtl"][key])
