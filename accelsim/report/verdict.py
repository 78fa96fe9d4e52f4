"""Which machine takes less, in sentences whose every figure is in the tables below them."""

from collections.abc import Sequence

import pandas as pd

from accelsim.report.tables import Comparison

PARTS = {
    "useful_cycles": "multiplying",
    "imbalance_cycles": "waiting for fuller lanes",
    "edge_cycles": "on lanes without work at the edges",
    "transform_cycles": "on transforms",
    "dram_cycles": "waiting for the DRAM",
}  # of the cycles, what each is spent on
DECIDING_LAYERS = 3
EVEN = 0.005  # relative difference below which neither machine is said to take less


def verdict(comparison: Comparison) -> list[str]:
    """The sentences, the most important first; one machine alone gets no comparison."""
    totals = [row for _, row in comparison.totals.iterrows()]
    if len(totals) == 1:
        return [_alone(totals[0])]
    return [_winners(totals), *(_against(row, totals[0]) for row in totals[1:]), *_reasons(comparison)]


def _alone(row: pd.Series) -> str:
    return f"{row['machine']} takes {int(row['cycles']):,} cycles and {row['energy_pj'] / 1e6:,.2f} \N{MICRO SIGN}J."


def _winners(totals: Sequence[pd.Series]) -> str:
    """Who takes the fewest cycles and the least energy."""
    fastest = _least(totals, "latency_ms")
    thriftiest = _least(totals, "energy_pj")
    if fastest == thriftiest:
        return (
            "No machine is ahead by half a percent."
            if fastest is None
            else f"{fastest} is {_most(totals, 'faster')} and takes {_most(totals, 'less')} energy."
        )
    fast = (
        "No machine is the fastest by half a percent" if fastest is None else f"{fastest} is {_most(totals, 'faster')}"
    )
    thrift = (
        "none takes the least energy" if thriftiest is None else f"{thriftiest} takes {_most(totals, 'less')} energy"
    )
    return f"{fast}; {thrift}."


def _most(totals: Sequence[pd.Series], word: str) -> str:
    """A comparative of two machines, the superlative of more."""
    return word if len(totals) == 2 else {"faster": "the fastest", "less": "the least"}[word]


def _least(totals: Sequence[pd.Series], column: str) -> str | None:
    """The machine with the least of a column, or None where another is as good."""
    ranked = sorted(totals, key=lambda row: row[column])
    return None if ranked[1][column] <= (1 + EVEN) * ranked[0][column] else str(ranked[0]["machine"])


def _against(row: pd.Series, first: pd.Series) -> str:
    """One machine's time, energy, traffic and area over the first one's."""
    ratios = [
        ("time", row["latency_ms"], first["latency_ms"]),
        ("energy", row["energy_pj"], first["energy_pj"]),
        ("DRAM traffic", _traffic(row), _traffic(first)),
        ("area", row["area_mm2"], first["area_mm2"]),
    ]
    parts = [f"{own / other:.3f} times the {word}" for word, own, other in ratios if other]
    return f"{row['machine']} takes {', '.join(parts[:-1])} and {parts[-1]} of {first['machine']}."


def _traffic(row: pd.Series) -> float:
    return float(row["dram_read_bytes"] + row["dram_write_bytes"])


def _reasons(comparison: Comparison) -> list[str]:
    """Where each machine's cycles go, and the layers that decide between the first two."""
    found = [_spent(row) for _, row in comparison.totals.iterrows() if row["cycles"] and set(PARTS) <= set(row.index)]
    names = comparison.machines[:2]
    first, second = (comparison.layers[name]["cycles"].to_numpy(float) for name in names)
    gaps = second - first
    layers = [str(name) for name in comparison.layers[names[0]]["name"]]
    widest = sorted(range(len(gaps)), key=lambda i: -abs(gaps[i]))[:DECIDING_LAYERS]
    deciding = [f"{layers[i]} ({gaps[i]:+,.0f})" for i in widest if gaps[i]]
    if deciding:
        found.append(f"Cycles of {names[1]} beyond those of {names[0]} differ most in {', '.join(deciding)}.")
    return found


def _spent(row: pd.Series) -> str:
    """Where a machine's cycles go, the most first; what takes less than a percent is left out."""
    shares = sorted(((row[column] / row["cycles"], word) for column, word in PARTS.items()), reverse=True)
    spent = ", ".join(f"{100 * share:.0f} % {word}" for share, word in shares if share >= 0.01)
    return f"{row['machine']} spends its cycles: {spent}."
