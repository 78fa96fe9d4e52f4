"""Parts of every report's page as HTML: the document, the verdict, charts, tables, the glossary.

The tables are there as they stand; a small script of our own (``page/page.js``) draws the charts
from the page's data and lets tables sort, filter and give CSV.  Nothing is fetched from anywhere.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape as html_escape
from itertools import groupby
from pathlib import Path
from typing import Any

from accelsim.names import visible
from accelsim.report.glossary import GLOSSARY
from accelsim.report.palette import COLOURS
from accelsim.report.plain import to_json

Figures = Sequence[tuple[str, str]]  # columns, and what a reader is told they are

TEXT_CELL = ' class="text"'  # of a cell of words
CELL_KIND = re.compile(r'<td(?: class="(\w+)")?>')
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d*(e[-+]?\d+)?%?")  # also of no text at all

_FOLDER = Path(__file__).parent / "page"
STYLE = (_FOLDER / "page.css").read_text(encoding="utf-8")
SCRIPT = (_FOLDER / "page.js").read_text(encoding="utf-8")


def escape(text: str) -> str:
    """The text as HTML that shows it, hidden characters as their codes."""
    return html_escape(visible(text))


def document(title: str, parts: Sequence[str], data: Mapping[str, Any]) -> str:
    """A whole page of parts that are HTML already.

    data: what the page's script draws (``page/page.js``).
    """
    body = "\n".join(parts)
    theme = '<button type="button" class="theme" aria-label="light or dark">\N{BLACK CIRCLE}\N{WHITE CIRCLE}</button>'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{theme}\n{body}\n</main>\n"
        f'<script type="application/json" id="data">{_script_json(data)}</script>\n<script>{SCRIPT}</script>\n'
        "</body>\n</html>\n"
    )


def _script_json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    return to_json(data).replace("<", "\\u003c")


def cloud_figure(cloud: str, title: str, across: Figures, up: Figures, *, tells_command: bool = False) -> str:
    """A chart of points with a choice of the figure on each axis.

    cloud: the points' name in the page's data.  tells_command: a click on a point shows its command
    below.
    """
    told = '<code class="command" aria-live="polite"></code>' if tells_command else ""
    choices = "".join(
        f'<label>{word} <select aria-label="{word} axis">{options(figures)}</select></label>'
        for word, figures in (("across", across), ("up", up))
    )
    return (
        f'<figure data-chart="scatter" data-cloud="{escape(cloud)}"><div class="tools">{choices}</div>'
        f'{legend("groups")}<svg role="img" aria-label="{escape(title)}"></svg>{told}</figure>'
    )


def legend(names: str) -> str:
    """Where the script writes what the colours mean.

    names: the list in the page's data that they stand for.
    """
    return f'<div class="legend" data-legend="{escape(names)}"></div>'


def options(figures: Figures) -> str:
    """What a choice of figures offers."""
    return "".join(f'<option value="{escape(column)}">{escape(words)}</option>' for column, words in figures)


def sentences_box(sentences: Sequence[str]) -> str:
    """The verdict, the most important sentence first."""
    return f'<div class="verdict">{"".join(f"<p>{_kept_together(sentence)}</p>" for sentence in sentences)}</div>'


def _kept_together(sentence: str) -> str:
    """A sentence in which no number is parted from the sign or unit behind it at the end of a line."""
    return re.sub(r"(?<=\d) (?=[%\N{MICRO SIGN}]|ms\b)", "\N{NO-BREAK SPACE}", escape(sentence))


def stack_figure(title: str, parts: Figures, unit: str) -> str:
    """Stacked bars, one a machine."""
    names = "".join(
        f'<span style="--of:{COLOURS[i % len(COLOURS)]}">{escape(name)}</span>' for i, (_, name) in enumerate(parts)
    )
    return (
        f'<figure data-chart="stack" data-unit="{unit}" data-parts="{escape(json.dumps(parts))}">'
        f'<div class="legend">{names}</div><svg role="img" aria-label="{escape(title)}"></svg></figure>'
    )


def glossary() -> str:
    """What each column means, folded away."""
    entries = "".join(f"<dt>{escape(column)}</dt><dd>{escape(text)}</dd>" for column, text in GLOSSARY.items())
    return (
        f'<details><summary>columns of the tables and CSV files</summary><dl class="glossary">{entries}</dl></details>'
    )


def table_of(
    head: Sequence[str],
    rows: Sequence[str],
    *,
    groups: Sequence[str] = (),
    name: str = "table",
    layers: bool = False,
) -> str:
    """A table that sorts, filters and gives CSV.

    head: texts.  rows: the cells of each row as HTML.  groups: a word above each column, of none
    ""; columns that share one stand below it together, and their names in CSV begin with it.  name:
    of its CSV file.  layers: each row is a layer of the page's data, which its first cell opens.
    """
    kinds = ["text" if "text" in column else "" for column in zip(*map(CELL_KIND.findall, rows), strict=True)]
    kinds += [""] * (len(head) - len(kinds))
    header = "".join(
        f'<th scope="col"{TEXT_CELL if kind == "text" else ""}{_full_name(group, text)}>{escape(text)}</th>'
        for text, kind, group in zip(head, kinds, groups or [""] * len(head), strict=True)
    )
    above = f'<tr class="groups">{_group_cells(groups)}</tr>' if groups else ""
    marks = (f' data-layer="{i}"' if layers else "" for i in range(len(rows)))
    body = "\n".join(f"<tr{mark}>{row}</tr>" for mark, row in zip(marks, rows, strict=True))
    kind = "sortable layers" if layers else "sortable"
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}" data-name="{escape(name)}">\n'
        f"<thead>{above}<tr>{header}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _full_name(group: str, text: str) -> str:
    """What a column below a group is called where it stands alone, as in CSV."""
    return f' data-value="{escape(f"{group}, {text}")}"' if group else ""


def _group_cells(groups: Sequence[str]) -> str:
    """The words above a table's columns, each over all columns that share it."""
    runs = [(group, len(list(same))) for group, same in groupby(groups)]
    return "".join(
        f'<th scope="colgroup" colspan="{count}">{escape(group)}</th>' if group else f'<td colspan="{count}"></td>'
        for group, count in runs
    )


def cells(texts: Sequence[str]) -> str:
    """A row's cells of plain texts: figures at the right, words at the left."""
    return "".join(f"<td{'' if NUMBER.fullmatch(text) else TEXT_CELL}>{escape(text)}</td>" for text in texts)


def command_note(command: str) -> str:
    """The command that gives a page's figures again; nothing where it is not known."""
    return f'<p class="note">Again: <code class="command">{escape(command)}</code></p>' if command else ""


def inline(svg: bytes, title: str) -> str:
    """The <svg> element without the XML declaration and document type, and with a name for who cannot see it."""
    text = svg.decode()
    drawn = text[text.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return f'<figure class="drawn">{drawn}</figure>'
