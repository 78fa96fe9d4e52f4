"""Weights that travel in the file's own entropy code and are decoded on chip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.hardware.energy import areas, prices
from accelsim.simulator.machines.load import load_hardware
from accelsim.simulator.run import run, schedule_layer
from accelsim.simulator.storage.weights import coded_bits
from accelsim.simulator.tiles.schedule import tiled_schedule
from accelsim.simulator.tiles.search import choose_tiling
from accelsim.simulator.time.pipeline import durations, pipeline_cycles
from accelsim.workload import LayerWork, layer_works
from tests.laws import law

from .random_layers import layer, layers, spatial

RESNET20 = Path(__file__).parents[2] / "models" / "resnet20-cifar10.dual"


@pytest.mark.parametrize(("name", "keys"), [("spatial-64x64", []), ("winograd-64x64", ["weight_transform=on_chip"])])
def test_the_dram_moves_the_bits_that_the_file_holds(name: str, keys: list[str]) -> None:
    """Each layer once: its buffers hold it.  Whole bytes of each tile are rounded up."""
    model = read_dual(RESNET20)
    machine = load_hardware(name, [*keys, "decoder.symbols_per_cycle=2", "objective=dram"])
    works = {work.name: work for work in layer_works(model)}
    rows = run(works.values(), machine, engine="fast").layers.set_index("name")
    for layer_name, bits in model.coded_bits.items():
        tiles = np.count_nonzero(schedule_layer(works[layer_name], machine).weights.n_bytes)
        assert 0 <= rows.loc[layer_name, "dram_weight_bytes"] - bits / 8 <= tiles
        weights = works[layer_name].weights
        assert weights is not None
        assert rows.loc[layer_name, "cycles"] >= weights.size / 2  # two symbols a cycle bound the load
    assert rows["dram_weight_bytes"].sum() < model.file_bytes


@law(60)
@given(layers(), st.floats(0.1, 50))
def test_shares_of_filters_sum_to_the_layer_and_a_slower_decoder_never_saves_cycles(
    work: LayerWork, rate: float
) -> None:
    """At a fixed mapping: all weights of a load, zero ones included, at the decoder's rate, in whole cycles."""
    work = replace(work, coded_bits=max(1, work.coded_bits or 0))
    quick, slow = (spatial(decoder={"symbols_per_cycle": r}) for r in (2 * rate, rate))
    bits = coded_bits(work, slow)
    assert (bits >= 0).all()
    assert bits.sum() == pytest.approx(work.coded_bits)
    assert work.weights is not None
    tiling, _ = choose_tiling(slow.modes(work)[0], slow)
    plans = [tiled_schedule(machine.modes(work)[0], tiling, machine) for machine in (quick, slow)]
    symbols = plans[1].actions["decode_symbol"]
    times = symbols / work.weights.size
    assert times == int(times) >= 1
    for steps, r in zip(plans, (2 * rate, rate), strict=True):
        loads = np.count_nonzero(steps.weight_transform_cycles)  # one of zeros alone may have no byte of its own
        assert symbols / r - 1e-3 <= steps.weight_transform_cycles.sum() <= symbols / r + loads
    assert pipeline_cycles(durations(plans[0], quick)) <= pipeline_cycles(durations(plans[1], slow))


def test_a_decoded_weight_costs_its_estimate_and_the_tables_have_an_area() -> None:
    work = layer(16, 16, 8, 3)
    machine = spatial(decoder={"symbols_per_cycle": 1})
    total, plain = (run([work], m, engine="fast").total for m in (machine, spatial()))
    symbols = 16 * 16 * 9
    assert total["energy_transform_pj"] == pytest.approx(symbols * prices(machine)["decode_symbol"].pj)
    assert plain["energy_transform_pj"] == 0
    own = spatial(decoder={"symbols_per_cycle": 1}, energy={"decode_symbol_pj": 1.5})
    assert run([work], own, engine="fast").total["energy_transform_pj"] == pytest.approx(1.5 * symbols)
    larger = spatial(decoder={"symbols_per_cycle": 4})
    assert "decoder" not in areas(spatial())
    assert areas(larger)["decoder"].mm2 > areas(machine)["decoder"].mm2 > 0


def test_what_has_no_code_is_refused() -> None:
    with pytest.raises(InputError, match=r"layer layer has no entropy-coded weights, expected a \.dual file"):
        schedule_layer(replace(layer(), coded_bits=None), spatial(decoder={"symbols_per_cycle": 1}))
    with pytest.raises(InputError, match=r"expects weight_transform on_chip"):
        load_hardware("winograd-16x16", ["decoder.symbols_per_cycle=1"])
    with pytest.raises(
        InputError, match=r"decoder: no key of dataflow row_stationary, but of dataflow output_stationary"
    ):
        load_hardware("eyeriss", ["decoder.symbols_per_cycle=1"])
    with pytest.raises(InputError, match=r"decoder\.symbols_per_cycle"):
        load_hardware("spatial-16x16", ["decoder.symbols_per_cycle=0"])
