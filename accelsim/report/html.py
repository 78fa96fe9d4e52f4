"""A comparison's report as one HTML page: verdict, tables and charts, nothing fetched from anywhere."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from accelsim.hardware.price import ENERGY_PARTS
from accelsim.report.chart_data import page_data
from accelsim.report.figures import FIGURES
from accelsim.report.parts import (
    cloud_figure,
    command_note,
    document,
    escape,
    glossary,
    legend,
    options,
    sentences_box,
    stack_figure,
    table_of,
)
from accelsim.report.tables import MACHINES, PLACES, TOTALS, Comparison
from accelsim.report.verdict import verdict

ROWS = (
    ("cycles", "cycles"),
    ("of these stalled", "stalled"),
    ("latency, ms", "latency, ms"),
    ("dense MACs, M", "dense MACs, M"),
    ("effectual MACs, M", "effectual MACs, M"),
    ("lane utilization, %", "lane utilization, %"),
    ("DRAM weights, MB", "DRAM weights, MB"),
    ("DRAM inputs, MB", "DRAM inputs, MB"),
    ("DRAM outputs, MB", "DRAM outputs, MB"),
    ("SRAM read, MB", "SRAM read, MB"),
    ("SRAM written, MB", "SRAM written, MB"),
    ("energy, \N{MICRO SIGN}J", "energy, uJ"),
    *((f"of this {part}", f"energy of {part}, uJ") for part in ENERGY_PARTS),
    ("power, mW", "power, mW"),
    ("area, mm\N{SUPERSCRIPT TWO}", "area, mm2"),
    ("lanes", "lanes"),
    ("SRAM, KiB", "SRAM, KiB"),
    ("clock, MHz", "clock, MHz"),
    ("DRAM peak, bytes/cycle", "DRAM peak, bytes/cycle"),
)  # what a row is called, and the figure of ``FIGURES`` that it shows
PLOTS = (
    ("cycles", "Cycles of each layer"),
    ("energy", "Energy by part"),
    ("dram", "DRAM traffic by tensor"),
    ("roofline", "Roofline"),
)  # pictures that lie beside the page, and what each shows
LAYER_FIGURES = (
    ("cycles", "cycles (pale: stalled)"),
    ("energy_pj", "energy, pJ"),
    ("dram_bytes", "DRAM traffic, bytes"),
    ("effectual_macs", "effectual MACs"),
)  # that the bars of each layer can show
ENERGY = tuple((f"energy_{part}_pj", part) for part in ENERGY_PARTS)
TENSORS = (("dram_weight_bytes", "weights"), ("dram_input_bytes", "inputs"), ("dram_output_bytes", "outputs"))
INTENSITIES = (("dense_intensity", "dense MACs per DRAM byte"), ("effectual_intensity", "effectual MACs per DRAM byte"))
LAYER_NOTE = (
    '<p class="note">A layer\'s name opens all that is known of it.  Bold: fewest cycles.  The chart leaves out what '
    "takes none, since it rides on another layer.</p>"
)
RATES = (("dense_rate", "dense MACs per cycle"), ("effectual_rate", "effectual MACs per cycle"))


def page(comparison: Comparison) -> str:
    """The page of a comparison."""
    first = comparison.totals.iloc[0]
    title = f"{first['model']} on {_machines(len(comparison.machines))}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="facts">{escape(_facts(first))}</p>',
        sentences_box(verdict(comparison)),
        command_note(str(first.get("command", ""))),
        "<h2>Whole network</h2>",
        _totals(comparison.totals),
        "<h2>Layer by layer</h2>",
        layer_chart(),
        LAYER_NOTE,
        layer_table(comparison),
        "<h2>Energy by part</h2>",
        stack_figure("energy by part", ENERGY, "pJ"),
        "<h2>DRAM traffic by tensor</h2>",
        stack_figure("DRAM traffic by tensor", TENSORS, "bytes"),
        "<h2>Roofline</h2>",
        '<p class="note">Small: layers; large: the whole network.  Where dense MACs are shown, skipped zeros and '
        "Winograd count as speed, so points may lie above the roof of lanes.  Data that come early, during the layers "
        "before, may lift a layer above its slope.  Wheel: zoom; double click: back.</p>",
        cloud_figure("roofline", "roofline", INTENSITIES, RATES),
        *_places(comparison),
        *_settings(comparison),
        "<h2>Files</h2>",
        _files(comparison),
        "<h2>What the words mean</h2>",
        glossary(),
    ]
    return document(title, parts, page_data(comparison))


def _machines(count: int) -> str:
    return "one machine" if count == 1 else f"{count} machines"


def layer_chart() -> str:
    """Bars of each layer of the page's data, filtered by name and kind."""
    return (
        '<figure data-chart="layers"><div class="tools">'
        f'<label>show <select aria-label="figure of each layer">{options(LAYER_FIGURES)}</select></label>'
        '<input type="search" id="layer-filter" placeholder="filter layers" aria-label="filter layers of the chart">'
        f"</div>{legend('machines')}"
        '<svg role="img" aria-label="bars of each layer; the table below has the figures"></svg>'
        "</figure>"
    )


def _settings(comparison: Comparison) -> list[str]:
    """Every key of the machines' descriptions side by side, those that differ in bold; nothing where there is none."""
    if not comparison.settings:
        return []
    flat = [dict(_dotted(settings)) for settings in comparison.settings.values()]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = []
    for key in keys:
        values = [_value(one.get(key)) for one in flat]
        style = ' class="differs"' if len(set(values)) > 1 else ""
        rows.append(f"<td>{escape(key)}</td>" + "".join(f"<td{style}>{escape(value)}</td>" for value in values))
    table = table_of(["key", *comparison.settings], rows, name="machines")
    return ["<h2>The machines</h2>", f"<details><summary>every key, defaults included</summary>{table}</details>"]


def _dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of nested keys as ``pe_array.rows``."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: object) -> str:
    return "" if value is None else str(value)


def _files(comparison: Comparison) -> str:
    """Links to the tables and pictures beside the page."""
    tables = [TOTALS, *([MACHINES] if comparison.settings else []), *comparison.totals["layers_csv"]]
    drawn = [name for name, _ in PLOTS] + (["memory"] if comparison.placed else [])
    pictures = [f"{name}.{kind}" for name in drawn for kind in ("png", "svg", "pdf")]
    links = ", ".join(f'<a href="{escape(quote(str(name)))}">{escape(str(name))}</a>' for name in (*tables, *pictures))
    return f"<p>{links}</p>"


def _facts(row: pd.Series) -> str:
    ratio = 4 * row["parameters"] / row["file_bytes"] if row["file_bytes"] else 0
    facts = [
        f"{int(row['parameters']):,} parameters",
        f"{int(row['file_bytes']):,} bytes on disk ({ratio:.1f}x smaller than float32)",
        f"engine {row['engine']}",
        f"batch {int(row['batch'])}",
        *([f"level {row['level']}"] if "level" in row else []),
        *([row["settings"]] if row["settings"] else []),
        f"SHA-256 {str(row['sha256'])[:12]}",
    ]
    return ", ".join(facts)


def _totals(totals: pd.DataFrame) -> str:
    """The figures of each machine; beside each, how many times the first machine's it is."""
    head = [""]
    for i, machine in enumerate(totals["machine"]):
        head += [str(machine)] + ([f"times {totals['machine'].iloc[0]}"] if i else [])
    rows = []
    runs = [run for _, run in totals.iterrows()]
    for label, name in ROWS:
        figure = FIGURES[name]
        first = figure.value(runs[0])
        cells = [label]
        for i, run in enumerate(runs):
            cells.append(figure.text(run))
            if i:
                cells.append(f"{figure.value(run) / first:.3f}" if 0 < first < float("inf") else "")
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return table_of(head, rows, name="totals")


def layer_table(comparison: Comparison) -> str:
    """Cycles, bound and energy of each layer on each machine, the fewest cycles in bold; the difference of two."""
    machines = comparison.machines
    two = len(machines) == 2
    head = ["layer", "kind"]
    for machine in machines:
        head += [f"{machine}: cycles", "mode", "bound by", "energy, nJ"]
    head += [f"cycles, {machines[1]} / {machines[0]}"] if two else []
    cycles = pd.DataFrame({machine: comparison.layers[machine]["cycles"].to_numpy() for machine in machines})
    fewest, most = cycles.min(axis=1), cycles.max(axis=1)
    rows = []
    for i, parts in enumerate(zip(*(comparison.layers[m].to_dict(orient="records") for m in machines), strict=True)):
        cells = [f'<td class="text">{escape(str(parts[0][column]))}</td>' for column in ("name", "kind")]
        for row in parts:
            best = ' class="best"' if row["cycles"] == fewest[i] and most[i] else ""
            cells.append(f"<td{best}>{int(row['cycles']):,}</td>")
            bound = str(row["bound"]) if row["cycles"] else ""
            cells += [f'<td class="text">{escape(text)}</td>' for text in (str(row["mode"]), bound)]
            cells.append(f"<td>{row['energy_pj'] / 1e3:,.1f}</td>")
        if two:
            ratio = parts[1]["cycles"] / parts[0]["cycles"] if parts[0]["cycles"] else float("nan")
            cells.append(f"<td>{ratio:.3f}</td>")
        rows.append("".join(cells))
    return table_of(head, rows, name="layers", layers=True)


def _places(comparison: Comparison) -> list[str]:
    """Where input, output and weights of each layer lie on each machine, where the layers ran as a network."""
    if not comparison.placed:
        return []
    machines = comparison.machines
    head = ["layer"] + [f"{machine}: {what}" for machine in machines for what in ("input", "output", "weights")]
    rows = []
    for i, name in enumerate(comparison.layers[machines[0]]["name"]):
        texts = [str(name)]
        for machine in machines:
            texts += [str(comparison.layers[machine][column].iloc[i]) for column in PLACES]
        rows.append("".join(f'<td class="text">{escape(text)}</td>' for text in texts))
    words = "chip: the whole map; both: some of each; path: it rides on the layer in front of it"
    return ["<h2>Where maps lie</h2>", f'<p class="note">{words}.</p>', table_of(head, rows, name="places")]
