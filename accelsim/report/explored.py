"""The page of ``accelsim explore``: which machine, at which sparsity, why.

And a comparison's page for each file.

``points.csv`` beside it has a row a file and machine, with every figure of the run.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.own_network import LEVEL, PAIRS, Made, chosen, command, machines, sentences
from accelsim.explore.table import to_csv
from accelsim.files import write_text
from accelsim.names import visible
from accelsim.report.chart_data import page_data
from accelsim.report.html import LAYER_NOTE, layer_chart, layer_table
from accelsim.report.parts import (
    cells,
    cloud_figure,
    command_note,
    document,
    escape,
    glossary,
    sentences_box,
    table_of,
)
from accelsim.report.tables import Comparison, gather
from accelsim.report.write import report_files, write_comparison

PAGE = "report.html"
POINTS = "points.csv"
ACROSS = (
    ("ratio", "times smaller than float32"),
    ("cycles", "cycles"),
    ("latency_ms", "latency, ms"),
    ("area_mm2", "area, mm\N{SUPERSCRIPT TWO}"),
    ("kept", "kept of the dense network's answers, % or dB"),
)
UP = (
    ("energy_pj", "energy, pJ"),
    ("cycles", "cycles"),
    ("latency_ms", "latency, ms"),
    ("dram_bytes", "DRAM traffic, bytes"),
    ("effectual_macs", "effectual MACs"),
)


class ExplorationPages:
    """The pages of an exploration in its folder, written again with each file that is made."""

    def __init__(self, folder: Path, again: str = "") -> None:
        """again: the command that does it again, for the page."""
        self.folder = folder
        self._again = again
        self._written: set[str] = set()  # files whose comparison is there

    def write(self, found: Sequence[Made], awaited: int = 0) -> None:
        """Write ``report.html``, ``points.csv`` and, of each further file, a folder with its comparison.

        awaited: files that are still to be made.  Raises InputError if the folder cannot be written.
        """
        title = found[0].model.network.graph.name
        for made in found:
            if made.name not in self._written:
                write_comparison(self.folder / made.name, report_files(_comparison(made)))
                self._written.add(made.name)
        write_text(self.folder / POINTS, to_csv(pd.DataFrame(point_rows(found))))
        pair = _of_pair(_comparison(chosen(found)), PAIRS[0])
        write_text(self.folder / PAGE, page(title, found, pair, self._again, awaited))


def _comparison(made: Made) -> Comparison:
    """A file on all machines."""
    all_of = machines()
    return gather(made.model, all_of, [made.results[machine.name] for machine in all_of])


def point_rows(found: Sequence[Made]) -> list[dict[str, Any]]:
    """One row a file and machine: what the file keeps, and every figure of the run.

    ``file, machine, chosen, ratio`` (float32 size over the file's), ``kept`` (agreement in %, or
    PSNR in dB, with the dense network in the worse domain), ``zeros`` and ``zeros_winograd`` (percent
    of the weights in either domain), and the columns of a result's total.
    """
    best = chosen(found)
    rows = []
    for made in found:
        facts = {"chosen": made is best, "file_bytes": made.model.file_bytes, "ratio": made.ratio, "kept": made.kept}
        facts |= dict(zip(("zeros", "zeros_winograd"), made.zeros, strict=True))
        for name, result in made.results.items():
            total = {str(key): value for key, value in result.total.items() if key not in ("name", "kind", "mode")}
            rows.append({"file": made.name, "machine": name, **facts, **total, "command": command(made.name, name)})
    return rows


def page(title: str, found: Sequence[Made], pair: Comparison, again: str = "", awaited: int = 0) -> str:
    """The page of an exploration, as HTML.

    pair: the chosen file on the first pair of machines, whose layers are shown.  awaited: files that
    are still to be made.
    """
    best = escape(chosen(found).name)
    note = "Every file on every machine; outlined: the file of the verdict.  A click on a point shows its command."
    parts = [
        f"<h1>{escape(title)}: which machine, at which sparsity</h1>",
        f'<p class="facts">{_facts(found, awaited)}</p>',
        sentences_box(sentences(found)),
        command_note(again),
        "<h2>Files</h2>",
        _files(found),
        _whole_numbers(chosen(found)),
        "<h2>All files on all machines</h2>",
        f'<p class="note">{note}  Wheel: zoom; double click: back.</p>',
        cloud_figure("points", "all files on all machines", ACROSS, UP, tells_command=True),
        "<h2>Pairs of machines</h2>",
        '<p class="note">Below 1: the Winograd machine takes less.</p>',
        _pairs(found),
        f"<h2>Layer by layer: {best}</h2>",
        layer_chart(),
        LAYER_NOTE,
        layer_table(pair),
        "<h2>Tables</h2>",
        f'<p><a href="{POINTS}">{POINTS}</a>: every figure of every file on every machine.</p>',
        "<h2>What the words mean</h2>",
        glossary(),
    ]
    return document(title, parts, _data(found, pair))


def _facts(found: Sequence[Made], awaited: int) -> str:
    files = "1 file" if len(found) == 1 else f"{len(found)} files"
    if awaited:
        files += f" so far, {awaited} to be made"
    return (
        f"{files}, {len(found[0].results)} machines, engine fast, level {LEVEL}, batch 1; the machines of a pair have "
        "equal lanes, SRAM, clock and DRAM.  Commands run in this page's folder."
    )


def _data(found: Sequence[Made], pair: Comparison) -> dict[str, Any]:
    """What the page's script draws: the layers of a pair, and a point a file and machine."""
    names = list(found[0].results)
    points = []
    for row in point_rows(found):
        shown = {"group": names.index(row["machine"]), "marked": row["chosen"]}
        shown |= {"text": visible(f"{row['file']} on {row['machine']}"), "command": visible(row["command"])}
        shown |= {column: row[column] for column, _ in (*ACROSS, *UP) if column in row}
        points.append(shown | {"dram_bytes": row["dram_read_bytes"] + row["dram_write_bytes"]})
    return page_data(pair) | {"groups": [visible(name) for name in names], "points": {"points": points}}


def _of_pair(comparison: Comparison, pair: tuple[str, str]) -> Comparison:
    """The rows of two machines."""
    totals = comparison.totals[comparison.totals["machine"].isin(pair)]
    return Comparison(totals, {name: comparison.layers[name] for name in pair})


def _files(found: Sequence[Made]) -> str:
    """What was made, and what it keeps."""
    figures = list(dict.fromkeys(key for made in found for key in made.figures))
    best = chosen(found)
    rows = []
    for made in found:
        name = escape(made.name)
        link = f'<a href="{name}/report.html">{name}</a>'
        texts = [f"{made.model.file_bytes:,}", f"{made.ratio:.1f}", *(f"{share:.1f}" for share in made.zeros)]
        texts += [f"{made.figures[key]:.2f}" if key in made.figures else "" for key in figures]
        file = f'<td class="text"><a href="{name}.dual">{name}.dual</a></td>'
        rows.append(f"<td>{f'<b>{link}</b>' if made is best else link}</td>{cells(texts)}{file}")
    zeros = ["zeros, %", "Winograd-domain zeros, %"]
    head = ["page", "bytes", "smaller by", *zeros, *(key.replace("_", ", ") for key in figures), "file"]
    return table_of(head, rows, name="files")


def _whole_numbers(best: Made) -> str:
    """How to see what a file keeps in each machine's whole numbers; nothing of a network that gives pictures."""
    if not any(key.startswith("agreement") for key in best.figures):
        return ""
    command = shlex.join(["accelsim", "validate", f"{best.name}.dual", *PAIRS[0]])
    return (
        '<p class="note">What it keeps in the whole numbers of each machine, on pictures of the network\'s size with a '
        f'labels.csv: <code class="command">{escape(command)} --images DIR --reference NETWORK</code></p>'
    )


def _pairs(found: Sequence[Made]) -> str:
    """Each file on each pair.

    Cycles and energy of both, and the second machine's over the first one's.
    """
    rows = []
    for made in found:
        for pair in PAIRS:
            totals = [made.results[name].total for name in pair]
            texts = [made.name, *pair]
            for column, unit, digits in (("cycles", 1, 0), ("energy_pj", 1e6, 2)):
                first, second = (float(total[column]) for total in totals)
                texts += [f"{first / unit:,.{digits}f}", f"{second / unit:,.{digits}f}"]
                texts.append(f"{second / first:.3f}" if first else "")
            rows.append(cells([*texts, command(made.name, *pair)]))
    energy = "energy, \N{MICRO SIGN}J"
    columns = [f"{what}, {whose}" for what in ("cycles", energy) for whose in ("spatial", "Winograd", "ratio")]
    return table_of(["file", "spatial", "Winograd", *columns, "command"], rows, name="pairs")
