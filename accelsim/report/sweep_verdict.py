"""What a sweep found, in sentences whose every figure is in its tables.

The knee, the front, what matters.
"""

from accelsim.explore.naming import named
from accelsim.explore.sweep import Sweep
from accelsim.report.sweep_drawing import label, varied

PJ_A_UJ = 1e6
LEAST_SHARE = 0.02  # of the variance, below which an axis is not worth a word


def sweep_sentences(sweep: Sweep) -> list[str]:
    """The sentences, the most important first.

    Each model's knee and front, then what moves the first objective.
    """
    found = [sentence for model in sweep.answers.models for sentence in _of_model(sweep, model)]
    return [*found, *_what_matters(sweep)]


def _of_model(sweep: Sweep, model: str) -> list[str]:
    """The machine at the knee of the model's front over all families, and whose points that front is made of."""
    scope = sweep.answers.scope(model)
    lead = f"{model}: " if len(sweep.answers.models) > 1 else ""
    if scope not in sweep.answers.fronts:
        return [f"{lead}no point reaches the accuracy asked for."]
    knee = sweep.table.iloc[sweep.answers.knees[scope]]
    name = " with ".join(filter(None, (str(knee["family"]), named(knee, varied(sweep, sweep.table)))))
    figures = ", ".join(_with_unit(column, knee[column]) for column in _objectives(sweep))
    rows = sweep.answers.fronts[scope]
    shares = ", ".join(f"{count} {family}" for family, count in rows["family"].value_counts(sort=False).items())
    points = int(((sweep.table["model"] == model) & (sweep.table["status"] == "done")).sum())
    front = "1 is on the front" if len(rows) == 1 else f"{len(rows)} are on the front"
    over = ", ".join(label(column).partition(",")[0] for column in _objectives(sweep))
    return [
        f"{lead}The best compromise (the knee of the front) is {name}: {figures}.",
        f"{lead}Of {points:,} points {front} of all families over {over}: {shares}.",
    ]


def _what_matters(sweep: Sweep) -> list[str]:
    """The axis that moves the first objective most, family by family."""
    objective = _objectives(sweep)[0]
    parts = []
    for family, ranked in sweep.answers.sensitivity.get(objective, {}).items():
        if len(ranked) and ranked["share"].iloc[0] >= LEAST_SHARE:
            first = ranked.iloc[0]
            parts.append(f"{first['axis']} of {family} ({100 * first['share']:.0f} % of the variance)")
    return [f"What moves {label(objective).partition(',')[0]} most: {', '.join(parts)}."] if parts else []


def _objectives(sweep: Sweep) -> list[str]:
    return [objective.removeprefix("-") for objective in sweep.description.report.objectives]


def _with_unit(column: str, value: float) -> str:
    """``latency 0.05 ms`` of a label such as ``latency, ms``; large energies in microjoules."""
    word, _, unit = label(column).partition(", ")
    if unit == "pJ" and abs(value) >= PJ_A_UJ:
        value = value / PJ_A_UJ
        unit = "\N{MICRO SIGN}J"
    figure = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return " ".join(filter(None, (word, figure, unit)))
