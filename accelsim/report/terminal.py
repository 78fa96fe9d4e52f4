"""Results as tables on a terminal or in a pipe, in human units that the row or column names state.

Plain ASCII besides rich's rules; no wider than the console: machines that do not fit beside each
other go into a further table below.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from accelsim.dual.model import DualModel
from accelsim.hardware.price import ENERGY_PARTS
from accelsim.report.console import escape, line, named_table
from accelsim.report.figures import FIGURES
from accelsim.report.grid import put
from accelsim.report.shelf_tables import model_line
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.result import Result, ratios_of
from accelsim.simulator.sensitivity import least
from accelsim.simulator.verdict import CHIPS, COLUMNS, verdicts
from accelsim.workload import LayerTable

if TYPE_CHECKING:
    import pandas as pd


def settings_line(result: Result, batch: int, overrides: Sequence[str]) -> str:
    """What the run was told."""
    return ", ".join([f"engine {result.engine}", f"batch {batch}", f"level {result.level}", *overrides])


SUMMARY = (
    ("cycles", "cycles"),
    ("  stalled", "stalled"),
    ("latency, ms", "latency, ms"),
    ("dense MACs, M", "dense MACs, M"),
    ("effectual MACs, M", "effectual MACs, M"),
    ("lane utilization, %", "lane utilization, %"),
    ("DRAM traffic, MB", "DRAM traffic, MB"),
    ("  weights", "DRAM weights, MB"),
    ("  inputs", "DRAM inputs, MB"),
    ("  outputs", "DRAM outputs, MB"),
    ("SRAM traffic, MB", "SRAM traffic, MB"),
    ("energy, uJ", "energy, uJ"),
    *((f"  {part}", f"energy of {part}, uJ") for part in ENERGY_PARTS),
    ("power, mW", "power, mW"),
    ("area, mm2", "area, mm2"),
)  # what a row is called, and the figure of ``FIGURES`` that it shows

RATIOS = (
    ("cycles", "cycles"),
    ("latency", "latency_ms"),
    ("energy", "energy_pj"),
    ("DRAM reads", "dram_read_bytes"),
    ("effectual MACs", "effectual_macs"),
    ("area", "area_mm2"),
)


def show_comparison(
    out: Console,
    model: DualModel | LayerTable,
    results: Sequence[Result],
    batch: int,
    overrides: Sequence[str] = (),
) -> None:
    """A head line, the totals side by side with their ratios to the first machine, and cycles layer by layer."""
    line(out, model_line(model, results[0].model))
    line(out, settings_line(results[0], batch, overrides))
    ratios = ratios_of(results)
    left = max(len(f"times {results[0].machine}:"), *(len(name) for name, _ in SUMMARY))
    widths = [2 + max(12, len(result.machine)) for result in results]
    for some in _chunks(results, widths, out.width - left):
        table = named_table("whole network", *(r.machine for r in some))
        for name, figure in SUMMARY:
            table.add_row(name, *(FIGURES[figure].text(r.sums) for r in some))
        if some[0].level != "layers":
            table.add_row("maps on chip", *(f"{r.sums['maps_on_chip']} of {r.sums['maps']}" for r in some))
            if any(r.sums.get("stacks") for r in some):
                table.add_row("stacks in stripes", *(str(r.sums.get("stacks", 0)) for r in some))
            if any(r.sums["passes"] > 1 for r in some):
                table.add_row("passes over the batch", *(str(r.sums["passes"]) for r in some))
            table.add_row("  most at once, kB", *(f"{r.sums['peak_bytes'] / 1e3:,.1f}" for r in some))
        table.add_section()
        table.add_row(escape(f"times {results[0].machine}:"), *("" for _ in some), style="bold")
        for name, column in RATIOS:
            table.add_row(f"  {name}", *(f"{ratios[r.machine][column]:.3f}" for r in some))
        put(out, table)
    _show_cycles(out, results)


def _show_cycles(out: Console, results: Sequence[Result]) -> None:
    """Cycles of each layer on each machine and what bounds them; the fewest are marked.

    Layers that take no cycles on any machine, since they ride on others, have no mark and no bound.
    """
    cycles = np.array([[row["cycles"] for row in r.rows] for r in results])  # (machines, layers)
    fewest = (cycles == cycles.min(axis=0)) & (cycles.max(axis=0) > 0)
    marks = {r.machine: of_machine for r, of_machine in zip(results, fewest.tolist(), strict=True)}
    names = [escape(str(row["name"])) for row in results[0].rows]
    bounds = {r.machine: [bound_of(row) for row in r.rows] for r in results}
    widths = [4 + max(12, len(r.machine)) + max(map(len, ("bound by", *bounds[r.machine]))) for r in results]
    for some in _chunks(results, widths, out.width - max(map(len, ("cycles of", *names)))):
        table = named_table("cycles of", *(column for r in some for column in (r.machine, "bound by")))
        for i, name in enumerate(names):
            cells = []
            for r in some:
                mark = "* " if marks[r.machine][i] else ""
                cells += [f"{mark}{r.rows[i]['cycles']:,}", bounds[r.machine][i]]
            table.add_row(name, *cells)
        put(out, table)
    if len(results) > 1:
        alone = fewest[:, fewest.sum(axis=0) == 1].sum(axis=1)
        counts = [f"{r.machine} in {count}" for r, count in zip(results, alone.tolist(), strict=True) if count]
        taking = int((cycles.max(axis=0) > 0).sum())
        shared = taking - int(alone.sum())
        line(out, f"*: fewest cycles; alone: {', '.join(counts) or 'none'}; shared: {shared} of {taking} layers")
    line(out, "bound by: where most cycles go: compute, imbalance or edge of the lanes, transform, dram")
    line(out, f"energy: published chips take {CHIPS[0]} to {CHIPS[1]} times the model's, DRAM apart; --band")


def bound_of(row: Mapping[str, Any]) -> str:
    """What bounds a layer; nothing for one that takes no cycles."""
    return str(row["bound"]) if row["cycles"] else ""


def show_result(
    out: Console,
    model: DualModel | LayerTable,
    result: Result,
    batch: int,
    overrides: Sequence[str] = (),
) -> None:
    """One row a layer and the total."""
    line(out, model_line(model, result.model))
    line(out, f"on {result.machine}, {settings_line(result, batch, overrides)}")
    placed = result.level != "layers"
    where = ("input", "output", "weights") if placed else ()
    table = named_table("layer", "mode", "cycles", "bound by", "util %", "DRAM kB", "energy uJ", *where)
    for row in [*result.rows, result.sums]:
        if row is result.sums:
            table.add_section()
        table.add_row(
            escape(str(row["name"])),
            str(row["mode"]),
            f"{row['cycles']:,}",
            bound_of(row),
            f"{100 * row['utilization']:.1f}",
            f"{(row['dram_read_bytes'] + row['dram_write_bytes']) / 1e3:,.1f}",
            f"{row['energy_pj'] / 1e6:,.3f}",
            *(str(row.get(f"{what}_place", "")) for what in ("input", "output", "weight") if placed),
        )
    put(out, table)
    t = result.sums
    if placed:
        lines = "lines (in stripes), " if t.get("stacks") else ""
        line(out, f"{t['maps_on_chip']} of {t['maps']} maps stay on chip, at most {t['peak_bytes']:,} bytes with tiles")
        line(
            out,
            f"input, output: dram, chip, {lines}both (some of each), path: on the way out of the layer it rides on",
        )
        line(out, "weights: all of a layer at once, or tile by tile")
    line(out, f"latency {t['latency_ms']:.4f} ms, power {t['power_mw']:.1f} mW, area {t['area_mm2']:.3f} mm2")
    line(out, f"MACs: dense {t['dense_macs'] / 1e6:.2f} M, effectual {t['effectual_macs'] / 1e6:.2f} M")
    energy = ", ".join(f"{part} {t[f'energy_{part}_pj'] / 1e6:.2f}" for part in ENERGY_PARTS)
    line(out, f"energy {t['energy_pj'] / 1e6:.2f} uJ: {energy}")


def show_sensitivity(out: Console, energies: "pd.DataFrame") -> None:
    """Energies under each energy table, and whether the conclusion is the same under all."""
    tables = list(energies["table"].unique())
    show = named_table("machine", "priced by", "energy, uJ", "ratio")
    for _, row in energies.iterrows():
        show.add_row(escape(str(row["machine"])), row["table"], f"{row['energy_pj'] / 1e6:,.2f}", f"{row['ratio']:.3f}")
    put(out, show)
    best = least(energies)
    if len(set(energies["machine"])) == 1:
        first, *others = energies["energy_pj"]
        ratios = ", ".join(f"{other / first:.2f} {table}" for table, other in zip(tables[1:], others, strict=True))
        line(out, f"times the energy with {tables[0]}: {ratios}")
    elif len(set(best.values())) == 1:
        line(out, f"least energy under every table: {next(iter(best.values()))}")
    else:
        line(out, "least energy: " + ", ".join(f"{machine} with {table}" for table, machine in best.items()))


def show_favours(out: Console, machines: Sequence[Machine]) -> None:
    """Machines whose lanes choose their operands at no cost, if there are any."""
    free = [machine.name for machine in machines if machine.chooses_freely]
    if free:
        line(out, f"any lane finds any operand at no cost (no operand_window): {', '.join(free)}")


def show_band(out: Console, cases: "pd.DataFrame") -> None:
    """Ratios under each assumption, and each verdict in words.

    cases: of ``simulator.verdict.band``.
    """
    first = str(cases["machine"].iloc[0])
    each = len(cases) // cases["case"].nunique()
    others = [f"{quantity}, {name}" for name in cases["machine"].iloc[1:each] for quantity in ("energy", "latency")]
    show = named_table(f"times {first}", *others)
    for start in range(0, len(cases), each):
        rows = cases.iloc[start + 1 : start + each]
        ratios = [f"{row[f'{quantity}_ratio']:.3f}" for _, row in rows.iterrows() for quantity in ("energy", "latency")]
        show.add_row(escape(str(cases["case"].iloc[start])), *ratios)
    put(out, show)
    for quantity in COLUMNS:
        for verdict in verdicts(cases, quantity):
            line(out, verdict.sentence)


def _chunks(
    results: Sequence[Result],
    widths: Sequence[int],
    room: int,
) -> Iterator[Sequence[Result]]:
    """Results in groups that fit beside each other in ``room`` characters.

    One that does not fit stands alone.
    """
    group: list[Result] = []
    taken = 0
    for result, width in zip(results, widths, strict=True):
        if group and taken + width > room:
            yield group
            group = []
            taken = 0
        group.append(result)
        taken += width
    yield group
