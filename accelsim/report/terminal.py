"""Results as tables on a terminal or in a pipe, in human units that the row or column names state.

Plain ASCII besides rich's rules; no wider than the console: machines that do not fit beside each
other go into a further table below.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape as no_markup
from rich.table import Table

from accelsim.dual.model import DualModel
from accelsim.hardware.price import ENERGY_PARTS
from accelsim.names import visible
from accelsim.report.figures import FIGURES
from accelsim.report.grid import grid, put
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.result import Result
from accelsim.simulator.sensitivity import least
from accelsim.simulator.verdict import CHIPS, COLUMNS, verdicts
from accelsim.workload import LayerTable

WORDS = {  # columns of words, flush left
    *("mode", "bound by", "per", "part", "source", "shape", "accuracy"),
    *("input", "output", "weights", "priced by"),
}


def escape(text: str) -> str:
    """The text as rich shows it: no markup in it, hidden characters as their codes."""
    return no_markup(visible(text))


def console() -> Console:
    """Standard output: colours on a terminal, 80 plain columns in a pipe."""
    return Console(highlight=False, soft_wrap=False)


def model_line(model: DualModel | LayerTable, name: str) -> str:
    """Model, parameters, file size and ratio in one line; of a table, that its zeros are random."""
    if isinstance(model, LayerTable):
        return f"{name}: {model.parameters:,} weights, synthetic (random zeros, seed {model.seed})"
    ratio = 4 * model.parameters / model.file_bytes if model.file_bytes else 0.0
    return (
        f"{name}: {model.parameters:,} parameters, {model.file_bytes:,} bytes on disk "
        f"({ratio:.1f}x smaller than float32)"
    )


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
    ratios: pd.DataFrame,
    batch: int,
    overrides: Sequence[str] = (),
) -> None:
    """A head line, the totals side by side with their ratios to the first machine, and cycles layer by layer."""
    line(out, model_line(model, results[0].model))
    line(out, settings_line(results[0], batch, overrides))
    left = max(len(f"times {results[0].machine}:"), *(len(name) for name, _ in SUMMARY))
    widths = [2 + max(12, len(result.machine)) for result in results]
    for some in _chunks(results, widths, out.width - left):
        table = _table("whole network", *(r.machine for r in some))
        for name, figure in SUMMARY:
            table.add_row(name, *(FIGURES[figure].text(r.total) for r in some))
        if some[0].level != "layers":
            table.add_row("maps on chip", *(f"{r.total['maps_on_chip']} of {r.total['maps']}" for r in some))
            if any(r.total.get("stacks") for r in some):
                table.add_row("stacks in stripes", *(str(r.total.get("stacks", 0)) for r in some))
            if any(r.total["passes"] > 1 for r in some):
                table.add_row("passes over the batch", *(str(r.total["passes"]) for r in some))
            table.add_row("  most at once, kB", *(f"{r.total['peak_bytes'] / 1e3:,.1f}" for r in some))
        table.add_section()
        table.add_row(escape(f"times {results[0].machine}:"), *("" for _ in some), style="bold")
        for name, column in RATIOS:
            table.add_row(f"  {name}", *(f"{float(ratios[column][r.machine]):.3f}" for r in some))
        put(out, table)
    _show_cycles(out, results)


def _show_cycles(out: Console, results: Sequence[Result]) -> None:
    """Cycles of each layer on each machine and what bounds them; the fewest are marked.

    Layers that take no cycles on any machine, since they ride on others, have no mark and no bound.
    """
    cycles = pd.DataFrame({r.machine: r.layers["cycles"].to_numpy() for r in results})
    fewest = cycles.eq(cycles.min(axis=1), axis=0)
    fewest.loc[cycles.max(axis=1) == 0] = False
    names = [escape(str(name)) for name in results[0].layers["name"]]
    bounds = {r.machine: [bound_of(row) for _, row in r.layers.iterrows()] for r in results}
    widths = [4 + max(12, len(r.machine)) + max(map(len, ("bound by", *bounds[r.machine]))) for r in results]
    for some in _chunks(results, widths, out.width - max(map(len, ("cycles of", *names)))):
        table = _table("cycles of", *(column for r in some for column in (r.machine, "bound by")))
        for i, name in enumerate(names):
            cells = []
            for r in some:
                mark = "* " if fewest[r.machine][i] else ""
                cells += [f"{mark}{cycles[r.machine][i]:,}", bounds[r.machine][i]]
            table.add_row(name, *cells)
        put(out, table)
    if len(results) > 1:
        alone = fewest[fewest.sum(axis=1) == 1].sum()
        counts = [f"{r.machine} in {alone[r.machine]}" for r in results if alone[r.machine]]
        taking = int((cycles.max(axis=1) > 0).sum())
        shared = taking - int(alone.sum())
        line(out, f"*: fewest cycles; alone: {', '.join(counts) or 'none'}; shared: {shared} of {taking} layers")
    line(out, "bound by: where most cycles go: compute, imbalance or edge of the lanes, transform, dram")
    line(out, f"energy: published chips take {CHIPS[0]} to {CHIPS[1]} times the model's, DRAM apart; --band")


def bound_of(row: pd.Series) -> str:
    """What bounds a layer; nothing for one that takes no cycles."""
    return str(row["bound"]) if row["cycles"] else ""


def show_result(
    out: Console, model: DualModel | LayerTable, result: Result, batch: int, overrides: Sequence[str] = ()
) -> None:
    """One row a layer and the total."""
    line(out, model_line(model, result.model))
    line(out, f"on {result.machine}, {settings_line(result, batch, overrides)}")
    placed = result.level != "layers"
    where = ("input", "output", "weights") if placed else ()
    table = _table("layer", "mode", "cycles", "bound by", "util %", "DRAM kB", "energy uJ", *where)
    for index, row in [*result.layers.iterrows(), ("total", result.total)]:
        if index == "total":
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
    t = result.total
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


def show_sensitivity(out: Console, energies: pd.DataFrame) -> None:
    """Energies under each energy table, and whether the conclusion is the same under all."""
    tables = list(energies["table"].unique())
    show = _table("machine", "priced by", "energy, uJ", "ratio")
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


def show_band(out: Console, cases: pd.DataFrame) -> None:
    """Ratios under each assumption, and each verdict in words.

    cases: of ``simulator.verdict.band``.
    """
    first = str(cases["machine"].iloc[0])
    each = len(cases) // cases["case"].nunique()
    others = [f"{quantity}, {name}" for name in cases["machine"].iloc[1:each] for quantity in ("energy", "latency")]
    show = _table(f"times {first}", *others)
    for start in range(0, len(cases), each):
        rows = cases.iloc[start + 1 : start + each]
        ratios = [f"{row[f'{quantity}_ratio']:.3f}" for _, row in rows.iterrows() for quantity in ("energy", "latency")]
        show.add_row(escape(str(cases["case"].iloc[start])), *ratios)
    put(out, show)
    for quantity in COLUMNS:
        for verdict in verdicts(cases, quantity):
            line(out, verdict.sentence)


def show_model(out: Console, model: DualModel, description: Mapping[str, Any]) -> None:
    """Each layer's shape, densities and size in the file; accuracy and provenance."""
    line(out, model_line(model, model.network.graph.name))
    for name, value in description["accuracy"].items():
        line(out, f"{name}: {value:.2f}")
    for name, text in model.provenance.items():
        line(out, f"{name}: {text}")
    table = _table("layer", "shape", "SD %", "WD %", "bits/weight", "file %")
    coded = 0.0
    for layer in description["layers"]:
        size = math.prod(layer["shape"])
        share = 100 * layer["bits_per_weight"] * size / 8 / model.file_bytes
        coded += share
        winograd = layer["winograd_density"]
        table.add_row(
            escape(layer["name"]),
            "x".join(map(str, layer["shape"])),
            f"{100 * layer['spatial_density']:.1f}",
            "-" if winograd is None else f"{100 * winograd:.1f}",
            f"{layer['bits_per_weight']:.3f}",
            f"{share:.1f}",
        )
    put(out, table)
    line(out, "SD %, WD %: non-zeros in the spatial and Winograd domain; -: Winograd does not serve the layer")
    deployed = description["winograd"]
    tiles = [deployed["tile"]] if isinstance(deployed["tile"], int) else deployed["tile"]
    if tiles:
        sets = ", ".join(f"F({m}, r)" for m in tiles)
        share = 100 * deployed["density"]
        line(out, f"{sets}, threshold {deployed['threshold']:.6g}: {share:.1f} % of these layers' entries are left")
    line(out, f"the rest of the file, {100 - coded:.1f} %: graph, biases, scales, densities")


def show_machine(out: Console, description: Mapping[str, Any]) -> None:
    """Lanes, memories, area by part, static power, and every price with its source."""
    d = description
    line(out, f"{d['machine']}: {d['description']}")
    line(out, f"{d['kind']}, {d['lanes']:,} lanes, {d['clock_mhz']:g} MHz, {d['node_nm']} nm")
    line(out, f"SRAM {d['sram_bytes']:,} bytes in all")
    dram = d["dram"]
    line(out, f"DRAM {dram['type']}, channels: {dram['channels']}, {dram['bandwidth_gbs']:g} GB/s peak in all")
    sources: dict[str, int] = {}

    def note(source: str) -> str:
        return f"({sources.setdefault(source, len(sources) + 1)})"

    times = _table("DRAM", "", "source")
    for name, value in dram["timing"].items():
        if "_pj" not in name:
            times.add_row(name, f"{value:g}", note(dram["sources"][name]))
    put(out, times)
    line(out, f"DRAM standby {dram['standby_mw']:.1f} mW, refresh {dram['refresh_mw']:.1f} mW in all")
    line(out, f"static power {d['static_mw']:.2f} mW {note(d['static_source'])}")
    areas = _table("area of", "mm2", "source")
    for part, area in d["areas_mm2"].items():
        areas.add_row(part, f"{area:.4f}", note(d["area_sources"][part]))
    areas.add_section()
    areas.add_row("all", f"{d['area_mm2']:.4f}", "")
    put(out, areas)
    table = _table("price of", "pJ", "per", "part", "source")
    for name, price in d["prices"].items():
        unit = price["unit"].removeprefix("pJ").removeprefix("/") or "action"
        table.add_row(name, f"{price['value']:.4g}", unit, price["part"], note(price["source"]))
    put(out, table)
    for source, number in sources.items():
        line(out, f"({number}) {source}")
    line(
        out,
        "Replace any of them in the machine file under `energy:`, `area:` or `dram:`, or with --set energy.KEY=VALUE",
    )


def show_machines(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of ``machine_rows``.

    Figures in columns, and below them what each machine is and follows.
    """
    width = max(len("machine"), *(len(visible(row["name"])) for row in rows))
    line(out, f"{'machine':{width}}  {'lanes':>7}  {'SRAM KiB':>8}  {'GB/s':>6}  {'area mm2':>8}")
    for row in rows:
        sram = f"{row['sram_bytes'] / 1024:,.0f}"
        figures = f"{row['lanes']:>7,}  {sram:>8}  {row['bandwidth_gbs']:>6g}  {row['area_mm2']:>8.2f}"
        line(out, f"{visible(row['name']):{width}}  {figures}")
        _words(out, row["description"], f"[{row['origin']}]" if row["origin"] else "", indent=4)
    folders = dict.fromkeys(str(Path(row["file"]).parent) for row in rows)
    _words(out, "[source]; own: of ours, no published chip; more in the comment that opens a machine's file")
    _words(out, "area: without DRAM, by the model; prices, areas and their sources: accelsim inspect MACHINE")
    _words(out, f"for a machine of your own, copy one of {' or '.join(folders)}")


def show_models(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of ``model_rows``.

    Sizes in columns, and below them accuracy, source and licence of the weights.
    """
    width = max(len("model"), *(len(visible(row["name"])) for row in rows))
    line(out, f"{'model':{width}}  {'parameters':>11}  {'bytes':>9}  {'smaller':>7}")
    for row in rows:
        smaller = f"{row['compression_ratio']:.1f}x"
        figures = f"{row['parameters']:>11,}  {row['file_bytes']:>9,}  {smaller:>7}"
        line(out, f"{visible(row['name']):{width}}  {figures}")
        _words(out, ", ".join(f"{name} {value:.2f}" for name, value in row["accuracy"].items()), indent=4)
        if row["weights"]:
            _words(out, f"[weights: {row['weights']}; licence: {row['licence']}]", indent=4)


def show_tables(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of ``table_rows`` as a table."""
    shown = _table("table of layers", "layers", "weights", "source")
    shown.columns[0].no_wrap = True
    shown.columns[2].justify = "right"
    for row in rows:
        shown.add_row(escape(row["name"]), str(row["layers"]), f"{row['weights']:,}", escape(row["source"]))
    put(out, shown)
    _words(out, "tables have shapes and no weights: their zeros are drawn from a seed; validate needs a model")


def _words(out: Console, *texts: str, indent: int = 0) -> None:
    """Words broken at the console's width, in a pipe, too; a path that is longer stays whole.

    A text goes on in the line of the one before it only if it fits there as a whole.
    """
    room = out.width - indent
    lines = [""]
    for text in texts:
        broken = textwrap.wrap(visible(text), room, break_long_words=False, break_on_hyphens=False)
        if len(broken) == 1 and len(lines[-1]) + 1 + len(broken[0]) <= room:
            lines[-1] = f"{lines[-1]} {broken[0]}".strip()
        else:
            lines += broken
    for words in filter(None, lines):
        line(out, " " * indent + words)


def line(out: Console, text: str) -> None:
    """A line of words: whole in a pipe, broken between words on a terminal."""
    out.print(escape(text), highlight=False, soft_wrap=not out.is_terminal)


def _table(first: str, *columns: str) -> Table:
    table = grid()
    table.add_column(first, overflow="fold")
    for column in columns:
        words = column in WORDS
        table.add_column(escape(column), justify="left" if words else "right", overflow="fold")
    return table


def _chunks(results: Sequence[Result], widths: Sequence[int], room: int) -> Iterator[Sequence[Result]]:
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


def show_sparsified(out: Console, summary: Mapping[str, Any]) -> None:
    """What ``accelsim sparsify`` made: the file, its layers, and the curve if there is one."""
    line(out, f"{summary['file']}: {summary['parameters']:,} parameters, {summary['file_bytes']:,} bytes")
    line(out, f"{summary['ratio']:.1f}x smaller than float32, {summary['cost_reduction']:.1f}x fewer multiplies")
    for name, unit, size in (("latency", "ms", 1.0), ("energy", "pj", 1e-6)):
        if f"{name}_{unit}" in summary:
            had, asked, dense = (size * summary[f"{name}{what}_{unit}"] for what in ("", "_asked", "_dense"))
            shown = "ms" if name == "latency" else "uJ"
            said = f"{had:.4g} {shown} an image, asked {asked:.4g}; dense, at 8 bits, {dense:.4g}"
            line(out, f"{summary['machine']}: {said}")
    table = _table("layer", "zeros, %", "in Winograd domain, %", "error, %", "bits a weight", "loss if alone")
    for layer in summary["layers"]:
        table.add_row(
            escape(layer["name"]),
            f"{100 * layer['zeros_sd']:.0f}",
            f"{100 * layer['zeros_wd']:.0f}" if layer["zeros_wd"] else "",
            f"{100 * layer['error']:.2f}",
            f"{layer['bits']:.2f}",
            f"{layer['predicted']:.2g}",
        )
    put(out, table)
    fixed = ("ratio", "cost_reduction", "file_bytes")
    figures = [key for key in summary["curve"][0] if key not in fixed]
    for key in figures:
        unit = "dB" if key.startswith("psnr") else "%"
        line(out, f"{key.replace('_', ', ')}: {summary[key]:.2f} {unit}")
    if len(summary["curve"]) > 1:
        curve = _table("smaller by", "fewer multiplies", *(key.replace("_", " ") for key in figures))
        for row in summary["curve"]:
            cells = [f"{row['cost_reduction']:.1f}", *(f"{row[key]:.2f}" for key in figures)]
            curve.add_row(f"{row['ratio']:.1f}", *cells)
        put(out, curve)
