"""Models and machines as tables on a terminal: what each is made of, and which there are."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from accelsim.dual.model import DualModel
from accelsim.names import visible
from accelsim.report.console import escape, line, named_table, put_words
from accelsim.report.grid import put
from accelsim.workload import LayerTable


def model_line(model: DualModel | LayerTable, name: str) -> str:
    """Model, parameters, file size and ratio in one line; of a table, that its zeros are random."""
    if isinstance(model, LayerTable):
        return f"{name}: {model.parameters:,} weights, synthetic (random zeros, seed {model.seed})"
    ratio = 4 * model.parameters / model.file_bytes if model.file_bytes else 0.0
    return (
        f"{name}: {model.parameters:,} parameters, {model.file_bytes:,} bytes on disk "
        f"({ratio:.1f}x smaller than float32)"
    )


def show_model(out: Console, model: DualModel, description: Mapping[str, Any]) -> None:
    """Each layer's shape, densities and size in the file; accuracy and provenance."""
    line(out, model_line(model, model.network.graph.name))
    for name, value in description["accuracy"].items():
        line(out, f"{name}: {value:.2f}")
    for name, text in model.provenance.items():
        line(out, f"{name}: {text}")
    table = named_table("layer", "shape", "SD %", "WD %", "bits/weight", "file %")
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

    times = named_table("DRAM", "", "source")
    for name, value in dram["timing"].items():
        if "_pj" not in name:
            times.add_row(name, f"{value:g}", note(dram["sources"][name]))
    put(out, times)
    line(out, f"DRAM standby {dram['standby_mw']:.1f} mW, refresh {dram['refresh_mw']:.1f} mW in all")
    line(out, f"static power {d['static_mw']:.2f} mW {note(d['static_source'])}")
    areas = named_table("area of", "mm2", "source")
    for part, area in d["areas_mm2"].items():
        areas.add_row(part, f"{area:.4f}", note(d["area_sources"][part]))
    areas.add_section()
    areas.add_row("all", f"{d['area_mm2']:.4f}", "")
    put(out, areas)
    table = named_table("price of", "pJ", "per", "part", "source")
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
        put_words(out, row["description"], f"[{row['origin']}]" if row["origin"] else "", indent=4)
    folders = dict.fromkeys(str(Path(row["file"]).parent) for row in rows)
    put_words(out, "[source]; own: of ours, no published chip; more in the comment that opens a machine's file")
    put_words(out, "area: without DRAM, by the model; prices, areas and their sources: accelsim inspect MACHINE")
    put_words(out, f"for a machine of your own, copy one of {' or '.join(folders)}")


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
        put_words(out, ", ".join(f"{name} {value:.2f}" for name, value in row["accuracy"].items()), indent=4)
        if row["weights"]:
            put_words(out, f"[weights: {row['weights']}; licence: {row['licence']}]", indent=4)


def show_tables(out: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of ``table_rows`` as a table."""
    shown = named_table("table of layers", "layers", "weights", "source")
    shown.columns[0].no_wrap = True
    shown.columns[2].justify = "right"
    for row in rows:
        shown.add_row(escape(row["name"]), str(row["layers"]), f"{row['weights']:,}", escape(row["source"]))
    put(out, shown)
    put_words(out, "tables have shapes and no weights: their zeros are drawn from a seed; validate needs a model")
