"""The folder of a sweep as a report: plots, the front as CSV, and one HTML page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.answers import variant_axes
from accelsim.explore.breakeven import best_tiles
from accelsim.explore.sweep import Sweep
from accelsim.explore.table import to_csv
from accelsim.names import visible
from accelsim.report.html import document, escape, inline, table_of
from accelsim.report.sweep_plots import break_even_table, families, label, sweep_plots, varied
from accelsim.report.write import write_files

FRONT_ROWS, FAULT_ROWS = 40, 10
HEADINGS = {
    "pareto": "Pareto fronts",
    "heat_map": "Map of two parameters",
    "parallel": "Parallel coordinates",
    "sensitivity": "What matters",
    "roofline": "Roofline",
    "break_even": "Where Winograd stops paying",
}


def write_sweep_report(sweep: Sweep, folder: Path) -> None:
    """Write ``report.html``, ``front.csv``, the plots and, with densities to compare, ``break_even.csv``.

    Raises InputError if no point is done or the folder cannot be written.
    """
    plots = {f"{name}.{kind}" for name in HEADINGS for kind in ("png", "svg")}
    write_files(folder, sweep_report(sweep), replaced={*plots, "break_even.csv"})


def sweep_report(sweep: Sweep) -> dict[str, bytes]:
    """Content of each file by its name; the same sweep gives the same bytes."""
    front = to_csv(sweep.answers.fronts["all"]).encode()
    plots = sweep_plots(sweep)
    files = {"front.csv": front, **plots}
    even = break_even_table(sweep)
    if not even.empty:
        files["break_even.csv"] = to_csv(even).encode()
    return {**files, "report.html": page(sweep, plots).encode()}


def page(sweep: Sweep, plots: dict[str, bytes]) -> str:
    """The page, with each plot's SVG in it."""
    title = f"Sweep {sweep.description.name}"
    counts = ", ".join(f"{count:,} {status}" for status, count in sweep.counts.items() if count)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="facts">{counts}, engine {sweep.description.engine}</p>']
    if sweep.description.description:
        parts.append(f"<p>{escape(sweep.description.description)}</p>")
    if sweep.synthetic:
        names = escape(", ".join(sweep.synthetic))
        parts.append(f"<p><b>Synthetic</b>: {names}, tables of layers whose zeros are drawn from a seed.</p>")
    parts += ["<h2>Answers</h2>", *_answers(sweep)]
    for name, heading in HEADINGS.items():
        if f"{name}.svg" in plots:
            parts += [f"<h2>{heading}</h2>", inline(plots[f"{name}.svg"])]
        if name == "pareto":
            parts += _fronts(sweep)
        elif name == "break_even":
            parts += _codesign(sweep)
    parts += _faults(sweep)
    return document(title, parts, {"groups": [visible(name) for name in families(sweep)]})


def _answers(sweep: Sweep) -> list[str]:
    """Knees and cheapest machines, as one table of machines."""
    answers, table = sweep.answers, sweep.table
    rows = [(f"knee of {name}", table.iloc[index]) for name, index in answers.knees.items()]
    for question, best in answers.cheapest:
        limits = ", ".join(f"{column} \N{LESS-THAN OR EQUAL TO} {limit:g}" for column, limit in question.limits.items())
        asked = f"least {question.minimize}" + (f" with {limits}" if limits else "")
        if best is None:
            rows.append((f"{asked}: none", pd.Series(dtype=object)))
        else:
            rows.append((asked, best))
    return [_machines(sweep, "machine", rows)]


def _fronts(sweep: Sweep) -> list[str]:
    """How the front divides among the families, and its machines."""
    rows = sweep.answers.fronts["all"]
    share = ", ".join(f"{count} {family}" for family, count in rows["family"].value_counts(sort=False).items())
    every = f"{len(rows)} points on the front of all families together ({escape(share)}); all of them: front.csv."
    step = -(-len(rows) // FRONT_ROWS)
    shown = rows.iloc[::step]
    picked = [(f"point {row['point']}", row) for _, row in shown.iterrows()]
    return [f"<p>{every}</p>", _machines(sweep, "", picked)]


def _machines(sweep: Sweep, head: str, rows: Sequence[tuple[str, pd.Series]]) -> str:
    done = sweep.table[sweep.table["status"] == "done"]
    objectives = [objective.removeprefix("-") for objective in sweep.description.report.objectives]
    asked = [column for q in sweep.description.report.cheapest for column in (q.minimize, *q.limits)]
    columns = list(dict.fromkeys(("family", *objectives, *asked, *varied(sweep, done))))
    cells = [[name, *(_text(row.get(column)) for column in columns)] for name, row in rows]
    return table_of([head, *(label(column) for column in columns)], [_cells(row) for row in cells])


def _codesign(sweep: Sweep) -> list[str]:
    """What each model variant is worth, and the best tile size of each layer."""
    parts: list[str] = []
    done = sweep.table[sweep.table["status"] == "done"]
    variants = [name for name in ("model", *variant_axes(done)) if done[name].nunique(dropna=False) > 1]
    tiles = ["tile"] if "tile" in done and done["tile"].nunique() > 1 else []
    facts = [name for name in ("top1", "file_bytes", "spatial_density", "winograd_density") if name in done]
    if variants:
        by = [*variants, "family", *tiles]
        costs = dict.fromkeys(("cycles", "energy_pj", "edp_pj_ms"), "min")
        best = done.groupby(by, sort=False, dropna=False).agg({**dict.fromkeys(facts, "first"), **costs}).reset_index()
        parts += ["<h2>Model variants</h2>", "<p>For each: its worth, and the least of each cost on any machine.</p>"]
        parts.append(_frame(best))
    if tiles and not sweep.layers.empty:
        same = [name for name in variants if name != "spatial_sparsity"]
        best = best_tiles(sweep.table, sweep.layers, same or ["family"])
        if not best.empty:
            chosen = best.pivot_table(index="layer", columns=same or ["family"], values="tile", sort=False)
            chosen.columns = [
                _text(c) if not isinstance(c, tuple) else ", ".join(map(_text, c)) for c in chosen.columns
            ]
            parts += ["<h2>Best tile size of each layer</h2>"]
            parts += [f"<p>Fewest cycles on any machine, by {escape(', '.join(same) or 'family')}.</p>"]
            parts.append(_frame(chosen.reset_index()))
    return parts


def _faults(sweep: Sweep) -> list[str]:
    """The errors of points that are not done, the most frequent first."""
    errors = sweep.table.loc[sweep.table["error"] != "", "error"].value_counts()
    if errors.empty:
        return []
    rows = [_cells([str(count), str(text)]) for text, count in errors.iloc[:FAULT_ROWS].items()]
    return ["<h2>Points that failed</h2>", table_of(["points", "error"], rows)]


def _frame(frame: pd.DataFrame) -> str:
    rows = [_cells([_text(value) for value in row]) for row in frame.itertuples(index=False)]
    return table_of([label(str(column)) for column in frame.columns], rows)


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, str):
        return value
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1e5 else f"{number:.4g}"
