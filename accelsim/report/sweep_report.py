"""The folder of a sweep as a report.

Plots, the front as CSV, and one HTML page that needs nothing else.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from accelsim.explore.answers import variant_axes
from accelsim.explore.breakeven import best_tiles
from accelsim.explore.naming import command, named
from accelsim.explore.sweep import Sweep
from accelsim.explore.table import to_csv
from accelsim.names import visible
from accelsim.report.parts import (
    cells,
    cloud_figure,
    document,
    escape,
    glossary,
    inline,
    sentences_box,
    table_of,
)
from accelsim.report.sweep_drawing import families, label, varied
from accelsim.report.sweep_maps import break_even_table
from accelsim.report.sweep_plots import sweep_plots
from accelsim.report.sweep_verdict import sweep_sentences
from accelsim.report.write import write_files
from accelsim.results_folder import SWEEP, check_kind

TABLES = ("points.csv", "front.csv", "break_even.csv")
FRONT_ROWS = 40
FAULT_ROWS = 10
CLOUD_POINTS = 3000  # beside those on a front
CLOUD_COLUMNS = (
    "latency_ms",
    "energy_pj",
    "edp_pj_ms",
    "area_mm2",
    "power_mw",
    "top1",
    "utilization",
    "dram_read_bytes",
)
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

    Raises InputError if no point is done, or the folder holds other results or cannot be written.
    """
    check_kind(folder, SWEEP)
    plots = {f"{name}.{kind}" for name in HEADINGS for kind in ("png", "svg")}
    write_files(folder, sweep_report(sweep), replaced={*plots, "break_even.csv"})


def sweep_report(sweep: Sweep) -> dict[str, bytes]:
    """Content of each file by its name; the same sweep gives the same bytes."""
    front = to_csv(fronts_of_all(sweep)).encode()
    plots = sweep_plots(sweep)
    files = {"front.csv": front, **plots}
    even = break_even_table(sweep)
    if not even.empty:
        files["break_even.csv"] = to_csv(even).encode()
    return {**files, "report.html": page(sweep, plots).encode()}


def page(sweep: Sweep, plots: dict[str, bytes]) -> str:
    """The page, with each plot's SVG in it."""
    name = sweep.description.name
    title = "Sweep" if name == "sweep" else f"Sweep {name}"
    counts = ", ".join(f"{count:,} {status}" for status, count in sweep.counts.items() if count)
    parts = [f"<h1>{escape(title)}</h1>", f'<p class="facts">{counts}, engine {sweep.description.engine}</p>']
    if sweep.description.description:
        parts.append(f"<p>{escape(sweep.description.description)}</p>")
    if sweep.synthetic:
        names = escape(", ".join(sweep.synthetic))
        parts.append(f"<p><b>Synthetic</b>: {names}, tables of layers whose zeros are drawn from a seed.</p>")
    cloud = _cloud(sweep)
    parts.append(sentences_box(sweep_sentences(sweep)))
    parts += ["<h2>Answers</h2>", *_answers(sweep), *_chart(sweep, cloud)]
    for name, heading in HEADINGS.items():
        if f"{name}.svg" in plots:
            parts += [f"<h2>{heading}</h2>", inline(plots[f"{name}.svg"], heading)]
        if name == "pareto":
            parts += _fronts(sweep)
        elif name == "break_even":
            parts += _codesign(sweep)
    parts += _faults(sweep)
    parts += ["<h2>Files</h2>", _files(plots), "<h2>What the words mean</h2>", glossary()]
    return document(title, parts, {"groups": [visible(name) for name in families(sweep)], "points": cloud})


def fronts_of_all(sweep: Sweep) -> pd.DataFrame:
    """The front of all families together, model after model.

    No rows where no point is accurate enough.
    """
    answers = sweep.answers
    names = [answers.scope(model) for model in answers.models]
    found = [answers.fronts[name] for name in names if name in answers.fronts]
    return pd.concat(found) if found else sweep.table.iloc[:0]


def _answers(sweep: Sweep) -> list[str]:
    """Knees and cheapest machines, as one table of machines."""
    answers = sweep.answers
    table = sweep.table
    rows = [(f"knee of {name}", table.iloc[index]) for name, index in answers.knees.items()]
    for found in answers.cheapest:
        question = found.question
        limits = ", ".join(f"{column} \N{LESS-THAN OR EQUAL TO} {limit:g}" for column, limit in question.limits.items())
        of_model = f"{found.model}: " if len(answers.models) > 1 else ""
        asked = f"{of_model}least {question.minimize}" + (f" with {limits}" if limits else "")
        if found.row is None:
            rows.append((f"{asked}: none", pd.Series(dtype=object)))
        else:
            rows.append((asked, found.row))
    floors = [f"{model}: points below {floor:.2f} % top-1 answer nothing." for model, floor in answers.floors.items()]
    said = f'<p class="note">{escape("  ".join(floors))}</p>' if floors else ""
    return [said, _machines(sweep, "machine", rows)]


def _fronts(sweep: Sweep) -> list[str]:
    """How the fronts divide among the families, and their machines."""
    rows = fronts_of_all(sweep)
    share = ", ".join(f"{count} {family}" for family, count in rows["family"].value_counts(sort=False).items())
    every = f"{len(rows)} points on the front of all families together ({escape(share)}); all of them: front.csv."
    step = max(1, -(-len(rows) // FRONT_ROWS))
    picked = [(str(row["family"]), row) for _, row in rows.iloc[::step].iterrows()]
    return [f"<p>{every}</p>", _machines(sweep, "family", picked)]


def _cloud(sweep: Sweep) -> dict[str, Any]:
    """The points that the page's chart shows.

    All on a front, and of the others as many as a page carries.
    """
    done = sweep.table[sweep.table["status"] == "done"]
    best = fronts_of_all(sweep)
    others = done.drop(best.index)
    shown = pd.concat([others.iloc[:: max(1, -(-len(others) // CLOUD_POINTS))], best])
    columns = [column for column, _ in _axes_of(sweep)]
    groups = families(sweep)
    names = varied(sweep, sweep.table)
    several = len(sweep.answers.models) > 1
    points = [
        {
            "group": groups.index(str(row["family"])),
            "marked": index in best.index,
            "text": visible(
                " ".join([*([str(row["model"])] if several else []), str(row["family"]), named(row, names)])
            ),
            "command": visible(command(sweep, row)),
            **{column: row[column] for column in columns},
        }
        for index, row in shown.iterrows()
    ]
    return {"points": points, "shown": len(shown), "of": len(done)}


def _axes_of(sweep: Sweep) -> list[tuple[str, str]]:
    """Columns of numbers that the chart's axes can show, the sweep's objectives first."""
    done = sweep.table[sweep.table["status"] == "done"]
    objectives = [objective.removeprefix("-") for objective in sweep.description.report.objectives]
    wanted = (*objectives, *CLOUD_COLUMNS, *varied(sweep, done))
    numeric = [c for c in dict.fromkeys(wanted) if c in done and pd.api.types.is_numeric_dtype(done[c])]
    return [(column, label(column)) for column in numeric]


def _chart(sweep: Sweep, cloud: dict[str, Any]) -> list[str]:
    """The chart of all points, with a choice of its axes."""
    axes = _axes_of(sweep)
    second = [*axes[1:], axes[0]] if len(axes) > 1 else axes
    sampled = f" ({cloud['shown']:,} of {cloud['of']:,} shown)" if cloud["shown"] < cloud["of"] else ""
    click = "A click on a point shows the command that gives it again where the sweep was run."
    note = f"Every point{sampled}; outlined: the fronts.  {click}"
    return [
        "<h2>All points</h2>",
        f'<p class="note">{note}  Wheel: zoom; double click: back.</p>',
        cloud_figure("points", "all points of the sweep", axes, second, tells_command=True),
    ]


def _machines(sweep: Sweep, head: str, rows: Sequence[tuple[str, pd.Series]]) -> str:
    """Points as a table.

    What each is called, its parameters, its figures, and the command that gives it again.
    """
    done = sweep.table[sweep.table["status"] == "done"]
    objectives = [objective.removeprefix("-") for objective in sweep.description.report.objectives]
    asked = [column for q in sweep.description.report.cheapest for column in (q.column, *q.limits)]
    columns = list(dict.fromkeys(("family", *varied(sweep, done), *objectives, *asked)))
    if head == "family":
        columns.remove("family")
    texts = [
        [name, *(_text(row.get(column)) for column in columns), command(sweep, row) if len(row) else ""]
        for name, row in rows
    ]
    return table_of([head, *(label(column) for column in columns), "command"], [cells(row) for row in texts])


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
    rows = [cells([str(count), str(text)]) for text, count in errors.iloc[:FAULT_ROWS].items()]
    return ["<h2>Points that failed</h2>", table_of(["points", "error"], rows)]


def _files(plots: dict[str, bytes]) -> str:
    """Links to the tables and pictures beside the page."""
    tables = ["points.csv", "front.csv", *(["break_even.csv"] if "break_even.svg" in plots else [])]
    links = (f'<a href="{name}">{name}</a>' for name in (*tables, *plots))
    return f"<p>{', '.join(links)}</p>"


def _frame(frame: pd.DataFrame) -> str:
    rows = [cells([_text(value) for value in row]) for row in frame.itertuples(index=False)]
    return table_of([label(str(column)) for column in frame.columns], rows)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, str):
        return value
    number = float(value)
    return f"{number:,.0f}" if number.is_integer() or abs(number) >= 1e5 else f"{number:.4g}"
