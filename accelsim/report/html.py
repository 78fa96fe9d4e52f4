"""A comparison's report as one HTML page.

Verdict, tables and charts, nothing fetched from anywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
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
    ("cycles, stalled", "stalled"),
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
    *((f"energy of {part}, \N{MICRO SIGN}J", f"energy of {part}, uJ") for part in ENERGY_PARTS),
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
    '<p class="note">A layer\'s name opens all that is known of it.  Bold: fewest cycles.  Ratio: the second '
    "machine's over the first one's.  The chart leaves out what takes no cycles, since it rides on another layer.</p>"
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
    """Every key of the machines' descriptions side by side, those that differ in bold.

    Nothing where there is none.
    """
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
    head = ["figure"]
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
    """Cycles, energy, bound and mode of each layer, the machines side by side, with the ratio of two."""
    machines = comparison.machines
    ratio = ["ratio"] if len(machines) == 2 else []
    numbers = [*machines, *ratio]
    words = list(machines)
    groups = [""] + ["cycles"] * len(numbers) + ["energy, nJ"] * len(numbers)
    groups += ["bound by"] * len(words) + ["mode"] * len(words) + [""]
    runs = zip(*(comparison.layers[machine].to_dict(orient="records") for machine in machines), strict=True)
    rows = [_layer_row(parts) for parts in runs]
    head = ["layer", *numbers, *numbers, *words, *words, "kind"]
    return table_of(head, rows, groups=groups, name="layers", layers=True)


def _layer_row(runs: Sequence[Mapping[Any, Any]]) -> str:
    """One layer's cells.  runs: its row on each machine."""
    fewest = min(run["cycles"] for run in runs)
    several = max(run["cycles"] for run in runs) > 0
    cells = [f'<td class="text">{escape(str(runs[0]["name"]))}</td>']
    for run in runs:
        best = ' class="best"' if several and run["cycles"] == fewest else ""
        cells.append(f"<td{best}>{int(run['cycles']):,}</td>")
    cells += _ratio_of_two([run["cycles"] for run in runs])
    cells += [f"<td>{run['energy_pj'] / 1e3:,.1f}</td>" for run in runs]
    cells += _ratio_of_two([run["energy_pj"] for run in runs])
    words = [str(run["bound"]) if run["cycles"] else "" for run in runs]
    words += [str(run["mode"]) for run in runs]
    cells += [f'<td class="text">{escape(text)}</td>' for text in (*words, str(runs[0]["kind"]))]
    return "".join(cells)


def _ratio_of_two(figures: Sequence[float]) -> list[str]:
    """The cell of the second figure over the first.

    None where there are not two, and an empty one over nothing.
    """
    if len(figures) != 2:
        return []
    return [f"<td>{figures[1] / figures[0]:.3f}</td>" if figures[0] else "<td></td>"]


def _places(comparison: Comparison) -> list[str]:
    """Where input, output and weights of each layer lie on each machine, where the layers ran as a network."""
    if not comparison.placed:
        return []
    machines = comparison.machines
    head = ["layer", *machines, *machines, *machines]
    groups = [""] + [what for what in ("input", "output", "weights") for _ in machines]
    rows = []
    for i, name in enumerate(comparison.layers[machines[0]]["name"]):
        texts = [str(name)]
        for column in PLACES:
            texts += [str(comparison.layers[machine][column].iloc[i]) for machine in machines]
        rows.append("".join(f'<td class="text">{escape(text)}</td>' for text in texts))
    words = "chip: the whole map; both: some of each; path: it rides on the layer in front of it"
    return [
        "<h2>Where maps lie</h2>",
        f'<p class="note">{words}.</p>',
        table_of(head, rows, groups=groups, name="places"),
    ]
