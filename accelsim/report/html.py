"""The report as one HTML page: tables and plots inline, nothing fetched from anywhere."""

from collections.abc import Mapping, Sequence
from html import escape as html_escape

import pandas as pd

from accelsim.hardware.price import ENERGY_PARTS
from accelsim.names import visible
from accelsim.report.figures import FIGURES
from accelsim.report.tables import PLACES, Comparison

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.facts { color: #555; margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1.5px solid #444; } tbody tr:nth-child(even) { background: #f5f6f7; }
td.best { font-weight: 600; }
svg { max-width: 100%; height: auto; }
"""

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
    ("memory", "On-chip memory over time"),
)


def escape(text: str) -> str:
    """The text as HTML that shows it, hidden characters as their codes."""
    return html_escape(visible(text))


def page(comparison: Comparison, svgs: Mapping[str, bytes]) -> str:
    """The page.  svgs: each plot of ``PLOTS`` by its name."""
    first = comparison.totals.iloc[0]
    title = f"{first['model']} on {len(comparison.machines)} machines"
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="facts">{escape(_facts(first))}</p>']
    parts += ["<h2>Whole network</h2>", _totals(comparison.totals)]
    for name, heading in PLOTS:
        if name not in svgs:
            continue
        parts += [f"<h2>{heading}</h2>", inline(svgs[name])]
    parts += ["<h2>Cycles layer by layer</h2>", _layers(comparison)]
    if comparison.placed:
        parts += ["<h2>Where maps lie</h2>", _places(comparison)]
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts that are HTML already."""
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


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
    return table_of(head, rows)


def _layers(comparison: Comparison) -> str:
    """Cycles of each layer on each machine, the fewest in bold, with the mode in which the machine ran it."""
    machines = comparison.machines
    head = ["layer", "kind"] + [text for machine in machines for text in (machine, "mode")]
    first = comparison.layers[machines[0]]
    cycles = pd.DataFrame({machine: comparison.layers[machine]["cycles"].to_numpy() for machine in machines})
    fewest = cycles.min(axis=1)
    rows = []
    for i in range(len(first)):
        cells = [f"<td>{escape(str(first[column].iloc[i]))}</td>" for column in ("name", "kind")]
        for machine in machines:
            best = ' class="best"' if cycles[machine][i] == fewest[i] else ""
            mode = escape(str(comparison.layers[machine]["mode"].iloc[i]))
            cells.append(f"<td{best}>{int(cycles[machine][i]):,}</td><td>{mode}</td>")
        rows.append("".join(cells))
    return table_of(head, rows)


def _places(comparison: Comparison) -> str:
    """Where input, output and weights of each layer lie on each machine."""
    machines = comparison.machines
    head = ["layer"] + [f"{machine}: {what}" for machine in machines for what in ("input", "output", "weights")]
    rows = []
    for i, name in enumerate(comparison.layers[machines[0]]["name"]):
        cells = [str(name)]
        for machine in machines:
            cells += [str(comparison.layers[machine][column].iloc[i]) for column in PLACES]
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    return table_of(head, rows)


def table_of(head: Sequence[str], rows: Sequence[str]) -> str:
    """A table.  head: texts; rows: the cells of each row as HTML."""
    header = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def inline(svg: bytes) -> str:
    """The <svg> element without the XML declaration and document type."""
    text = svg.decode()
    return text[text.index("<svg") :]
