"""The words of a sweep's verdict."""

import pytest

from accelsim.report.sweep_verdict import _with_unit


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("latency_ms", 0.07132, "latency 0.07132 ms"),
        ("energy_pj", 19_868_538.0, "energy 19.87 \N{MICRO SIGN}J"),
        ("energy_pj", 999.0, "energy 999 pJ"),
        ("cycles", 40_507.0, "cycles 40,507"),
    ],
)
def test_figures_have_readable_units(column: str, value: float, words: str) -> None:
    assert _with_unit(column, value) == words
