"""The simulator's cycles against those that the register-transfer model took, without running it (see ``run``)."""

import json

import pytest

from tests.rtl.cases import MODEL, Case, cases, load_model
from tests.rtl.run import GOLDEN, TOLERANCE

RECORDED = json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def all_cases() -> dict[str, Case]:
    """The cases on the shipped model, by name."""
    model = load_model()
    assert model.sha256 == RECORDED["model_sha256"], (
        f"golden.json was recorded with another {MODEL.name}: make test-rtl UPDATE=1 records it anew"
    )
    return {case.name: case for case in cases(model)}


def test_every_case_was_recorded(all_cases: dict[str, Case]) -> None:
    assert all_cases.keys() == RECORDED["cycles"].keys()
    assert len(all_cases) >= 40


@pytest.mark.parametrize("name", sorted(RECORDED["cycles"]))
def test_the_simulator_gives_the_recorded_cycles(all_cases: dict[str, Case], name: str) -> None:
    """The units' cycles exactly, the layer's with the DMA within the tolerance."""
    compute, transform, inverse, cycles = RECORDED["cycles"][name]
    prediction = all_cases[name].predict()
    assert (prediction.compute, prediction.transform, prediction.inverse) == (compute, transform, inverse)
    assert prediction.cycles == pytest.approx(cycles, rel=TOLERANCE)
