"""The simulator's cycles against those that the register-transfer model took, without running it (see ``run``)."""

import pytest

from tests.rtl.cases import CUT_RESNET18, RECORDED_RESNET20, cases, read_layers, recorded
from tests.rtl.chains import chains
from tests.rtl.run import TOLERANCE

# The layers of ResNet-18 are there only after ``make test-rtl`` with the data folder.
RECORDED = recorded()["cases"]
if not CUT_RESNET18.exists():
    RECORDED = {name: case for name, case in RECORDED.items() if name.startswith("resnet20/")}
LAYERS = read_layers(RECORDED_RESNET20)
CASES = {case.name: case for case in cases(LAYERS, RECORDED)}
CHAINS = {chain.name: chain for chain in chains(LAYERS, RECORDED)}


def test_every_case_was_recorded() -> None:
    assert CASES.keys() | CHAINS.keys() == RECORDED.keys()
    assert len(CASES) >= 40
    assert len(CHAINS) >= 12


@pytest.mark.parametrize("name", sorted(CASES.keys() | CHAINS.keys()))
def test_the_simulator_gives_the_recorded_cycles(name: str) -> None:
    """The units' cycles exactly, the layer's with the DMA within the tolerance."""
    compute, transform, inverse, cycles = RECORDED[name]["cycles"]
    prediction = (CASES | CHAINS)[name].predict()
    assert (prediction.compute, prediction.transform, prediction.inverse) == (compute, transform, inverse)
    assert prediction.cycles == pytest.approx(cycles, rel=TOLERANCE)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_chains_are_exact_with_the_bytes_that_the_rtl_loads(name: str) -> None:
    """When the lanes were done with each layer, when each layer's last output was, and when all was."""
    prediction = CHAINS[name].predict(CHAINS[name].program())
    known = RECORDED[name]
    assert list(prediction.computed) == known["computed"]
    assert list(prediction.finished) == known["finished"]
    assert prediction.cycles == known["cycles"][3]
