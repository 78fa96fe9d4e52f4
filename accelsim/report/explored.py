"""The page of ``accelsim explore``: which machine, at which sparsity, why; and a comparison's page for each file."""

from collections.abc import Sequence
from pathlib import Path

from accelsim.explore.own_network import PAIRS, Made, chosen, machines, sentences
from accelsim.files import write_text
from accelsim.report.html import document, escape, table_of
from accelsim.report.tables import gather
from accelsim.report.write import report_files, write_comparison


def write_exploration(folder: Path, title: str, found: Sequence[Made]) -> None:
    """Write ``index.html`` and, of each file, a folder with its comparison on all machines."""
    all_of = machines()
    for made in found:
        comparison = gather(made.model, all_of, [made.results[machine.name] for machine in all_of])
        write_comparison(folder / made.name, report_files(comparison))
    write_text(folder / "index.html", page(title, found))


def page(title: str, found: Sequence[Made]) -> str:
    """The whole page."""
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(found))
    parts = [
        f"<h1>{escape(title)}: which machine, at which sparsity</h1>",
        f'<div class="verdict">{told}</div>',
        "<h2>Files</h2>",
        _files(found),
        "<h2>Cycles, and energy in \N{MICRO SIGN}J</h2>",
        _figures(found),
    ]
    return document(title, parts, {})


def _files(found: Sequence[Made]) -> str:
    """What was made, and what it keeps."""
    figures = list(dict.fromkeys(key for made in found for key in made.figures))
    best = chosen(found)
    rows = []
    for made in found:
        name = f'<a href="{escape(made.name)}/report.html">{escape(made.name)}</a>'
        cells = [f"<b>{name}</b>" if made is best else name, f"{made.model.file_bytes:,}", f"{made.ratio:.1f}"]
        cells += [f"{made.figures[key]:.2f}" if key in made.figures else "" for key in figures]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = ["file", "bytes", "smaller by", *(key.replace("_", ", ") for key in figures)]
    return table_of(head, rows, name="files")


def _figures(found: Sequence[Made]) -> str:
    """Each file on each machine."""
    rows = []
    for made in found:
        cells = [escape(made.name)]
        for pair in PAIRS:
            for name in pair:
                total = made.results[name].total
                cells += [f"{int(total['cycles']):,}", f"{total['energy_pj'] / 1e6:,.2f}"]
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = ["file"]
    for pair in PAIRS:
        for name in pair:
            head += [name, f"{name}, energy"]
    return table_of(head, rows, name="figures")
