"""Random small machines of every kind, dataflow and key of the description, for the laws of the simulator.

``tiled_machines`` cut layers into tiles of a matrix product (they have modes); ``machines`` are all of them.
Each strategy takes keys with fixed values, as ``random_layers.spatial`` does; a fixed ``dram`` replaces the drawn one.
"""

from typing import Any

from hypothesis import strategies as st

from accelsim.hardware.dram_types import dram_types
from accelsim.hardware.parts import AreaOverrides, EnergyOverrides
from accelsim.simulator.machines.cartesian.machine import CartesianMachine
from accelsim.simulator.machines.cells import CellsMachine
from accelsim.simulator.machines.machine import Machine
from accelsim.simulator.machines.matrix_vector import MatrixVectorMachine
from accelsim.simulator.machines.row_stationary.machine import RowStationaryMachine
from accelsim.simulator.machines.stationary import StationaryMachine
from accelsim.simulator.machines.winograd import WinogradMachine

from .random_layers import AnyMachine, changed, spatial, winograd

IDEAL = {"type": "ideal"}
BUFFERS = ("weight", "input", "transformed", "output")
DECODERS = st.sampled_from([None, None, {"symbols_per_cycle": 0.3}, {"symbols_per_cycle": 8, "table_kb": 4}])
BANKS = st.sampled_from([None, None, None, 1, 8])


def _sometimes(optional: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly nothing, else some of the keys."""
    return st.one_of(st.just({}), st.just({}), st.fixed_dictionaries({}, optional=optional))


DRAM_TIMES = _sometimes(
    {
        "bandwidth_gbs": st.floats(0.5, 100), "burst_bytes": st.sampled_from([8, 64, 100]),
        "row_bytes": st.sampled_from([200, 1024, 1 << 30]), "ranks": st.integers(1, 2),
        "banks": st.sampled_from([1, 3, 16]), "interleaved_groups": st.sampled_from([1, 4]),
        "write_queue_bursts": st.sampled_from([1, 16, 200]), "t_rcd_ns": st.floats(0, 40), "t_rp_ns": st.floats(0, 40),
        "t_cl_ns": st.floats(0, 20),
        "t_rrd_ns": st.floats(0, 9), "t_faw_ns": st.floats(0, 50), "t_ccd_l_ns": st.floats(0, 9),
        "t_wtr_ns": st.floats(0, 20), "t_rtw_ns": st.floats(0, 9), "t_rfc_ns": st.floats(0, 800),
        "t_refi_ns": st.floats(4000, 8000),
    }
)  # fmt: skip
ENERGIES = _sometimes({key: st.floats(0, 1 if key == "gated_share" else 10) for key in EnergyOverrides.model_fields})
AREAS = _sometimes({key: st.floats(0, 10) for key in AreaOverrides.model_fields})


@st.composite
def drams(draw: st.DrawFn) -> dict[str, Any]:
    """Every type; some with times of their own."""
    return {
        "type": draw(st.sampled_from(sorted(dram_types()))), "channels": draw(st.integers(1, 2)), **draw(DRAM_TIMES),
    }  # fmt: skip


@st.composite
def _common(draw: st.DrawFn) -> dict[str, Any]:
    """What all machines have."""
    return {
        "clock_mhz": draw(st.sampled_from([200, 500, 1000])),
        "node_nm": draw(st.sampled_from([7, 28, 65])),
        "arithmetic": {
            "number": draw(st.sampled_from(["int", "int", "fp16", "fp32"])),
            "weight_bits": draw(st.sampled_from([4, 8, 16])),
            "activation_bits": draw(st.sampled_from([4, 8, 16])),
            "accumulator_bits": draw(st.sampled_from([16, 24, 32])),
        },
        "energy_table": draw(st.sampled_from(["horowitz", "aladdin", "gates"])),
        "weight_format": draw(st.sampled_from(["dense", "bitmask", "csr", "run_length", "packed_run_length"])),
        "activation_format": draw(st.sampled_from(["dense", "bitmask", "run_length", "packed_run_length"])),
        "vector_lanes": draw(st.sampled_from([1, 16])),
        "buffers__port_bits": draw(st.sampled_from([16, 128])),
        "dram": draw(drams()),
        "energy": draw(ENERGIES),
        "area": draw(AREAS),
        "objective": draw(st.sampled_from(["cycles", "dram", "energy", "edp"])),
    }


def _transformed(draw: st.DrawFn) -> dict[str, Any]:
    """What Winograd machines have of their own in a common group."""
    return {"arithmetic__transformed_bits": draw(st.sampled_from([8, 10, 16]))}


def _rooms(
    draw: st.DrawFn, sizes: list[float], names: tuple[str, ...] = ("weight", "input", "output")
) -> dict[str, Any]:
    return {f"buffers__{name}_kb": draw(st.sampled_from(sizes)) for name in names}


def _choices(draw: st.DrawFn, *, possible: bool, needed: bool = False) -> dict[str, Any]:
    """Operand windows and several sums a lane, where a machine can have them."""
    if not possible:
        return {}
    positions = draw(st.sampled_from([1, 5, 16, 50]))
    window = {"positions": positions, "banks": draw(st.integers(1, min(positions, 5)))}
    return {
        "operand_window": window if needed or draw(st.booleans()) else None,
        "filters_per_lane": draw(st.sampled_from([1, 1, 2, 3])),
        "outputs_per_lane": draw(st.sampled_from([1, 1, 2, 5])),
    }


def _array(draw: st.DrawFn, most: int = 9) -> dict[str, Any]:
    return {"pe_array__rows": draw(st.integers(1, most)), "pe_array__cols": draw(st.integers(1, most))}


@st.composite
def tiled_spatial_machines(draw: st.DrawFn, *, choosing: bool = False, **fixed: Any) -> StationaryMachine:
    """Output-, weight- and input-stationary arrays in valid combinations, with room for the random layers.

    choosing: some with operand windows and several sums a lane.
    """
    dataflow = draw(
        st.sampled_from(["output_stationary", "output_stationary", "weight_stationary", "input_stationary"])
    )
    handling = ["none", "gate"]
    if dataflow != "input_stationary":
        handling += ["skip_weights"]
    if dataflow == "output_stationary":
        handling += ["skip_weights", "skip_both", "skip_both"]
    zero_handling = draw(st.sampled_from(handling))
    skips = zero_handling.startswith("skip")
    window = draw(st.integers(1, 4)) if skips and dataflow == "output_stationary" else 1
    feeds = ["broadcast"] if skips else ["broadcast", "systolic"] + ["mesh"] * (dataflow == "output_stationary")
    feed = draw(st.sampled_from(feeds))
    plain = dataflow == "output_stationary" and zero_handling != "skip_both" and (feed, window) == ("broadcast", 1)
    return spatial(
        **{
            "dataflow": dataflow,
            "zero_handling": zero_handling,
            "pe_array__feed": feed,
            "balance": draw(st.sampled_from(["none", "greedy", "paired"])),
            "window": window,
            **_choices(draw, possible=choosing and plain),
            "chunk": draw(st.sampled_from([None, 5, 128])) if zero_handling == "skip_both" else None,
            "decoder": draw(DECODERS),
            **_array(draw),
            **draw(_common()),
            **_rooms(draw, [48, 128]),
            "buffers__banks": draw(BANKS),
            "buffers__shared": draw(st.booleans()),
            **fixed,
        }
    )


@st.composite
def winograd_machines(draw: st.DrawFn, *, choosing: bool = False, **fixed: Any) -> WinogradMachine:
    """Every tile size, zero handling and lane arrangement, with room for the random layers.

    choosing: some with operand windows, several sums a lane, transforms at the lanes, several tile sizes.
    """
    zero_handling = draw(st.sampled_from(["none", "gate", "skip_weights", "skip_weights"]))
    weight_transform = draw(st.sampled_from(["off_line", "on_chip"]))
    window = draw(st.integers(1, 4)) if zero_handling == "skip_weights" else 1
    streamed = choosing and window == 1 and draw(st.booleans())
    return winograd(
        **{
            **_choices(draw, possible=choosing and window == 1, needed=streamed),
            "inverse": draw(st.sampled_from(["unit", "lane"])) if choosing else "unit",
            "input_transform": "streamed" if streamed else "stored",
            "tiles": draw(st.sampled_from([None, None, (2,), (2, 4)])) if choosing else None,
            "tile": draw(st.sampled_from([2, 3, 4, 6])),
            "zero_handling": zero_handling,
            "balance": draw(st.sampled_from(["none", "greedy", "paired"])),
            "window": window,
            **_array(draw, 6),
            "pe_array__taps": draw(st.sampled_from([1, 2, 4, 16, 36])),
            "transform_rate": draw(st.integers(1, 8)),
            "inverse_rate": draw(st.integers(1, 8)),
            "polyphase": not streamed and draw(st.booleans()),
            "largest_kernel": None if streamed else draw(st.sampled_from([None, 2, 3])),
            "hybrid": draw(st.booleans()),
            "weight_transform": weight_transform,
            "weight_transform_rate": draw(st.sampled_from([1, 4])),
            "decoder": draw(DECODERS) if weight_transform == "on_chip" else None,
            **draw(_common()),
            **_transformed(draw),
            **_rooms(draw, [192, 512], BUFFERS),
            **({"buffers__transformed_kb": 0} if streamed else {}),
            "buffers__banks": draw(BANKS),
            "buffers__shared": draw(st.booleans()),
            **fixed,
        }
    )


@st.composite
def cell_machines(draw: st.DrawFn, **fixed: Any) -> CellsMachine:
    """Cells as NVDLA's: every size, with and without a Winograd mode, buffers shared or not."""
    rows, cols, channels = (draw(st.integers(1, 4)) for _ in range(3))
    return winograd(
        **{
            "tile": draw(st.sampled_from([2, 4])),
            "zero_handling": draw(st.sampled_from(["none", "gate"])),
            "hybrid": draw(st.booleans()),
            "pe_array": {"rows": rows, "cols": cols, "taps": draw(st.sampled_from([1, 4]))},
            "transform_rate": 2 * rows * channels,
            "inverse_rate": 4 * rows * cols,
            "cells": {
                "channels": channels,
                "channel_atom": draw(st.sampled_from([1, 4, 16])),
                "block": draw(st.integers(1, 2)),
                "kernel": draw(st.sampled_from([None, 3])),
                "stripe": draw(st.sampled_from([1, 16])),
            },
            **draw(_common()),
            **_transformed(draw),
            **_rooms(draw, [192, 512], BUFFERS),
            "buffers__banks": draw(BANKS),
            "buffers__shared": draw(st.booleans()),
            **fixed,
        }
    )


@st.composite
def row_machines(draw: st.DrawFn, **fixed: Any) -> RowStationaryMachine:
    """Row-stationary: small arrays and pads."""
    pads = {
        "filter_words": st.integers(5, 60), "input_words": st.integers(1, 20), "psum_words": st.integers(1, 24),
        "filter_bus_bits": st.sampled_from([8, 24, 64]), "input_bus_bits": st.sampled_from([8, 16, 64]),
        "psum_bus_bits": st.sampled_from([16, 24, 64]), "bank_kb": st.sampled_from([0.25, 1, 4]),
    }  # fmt: skip
    return spatial(
        **{
            "dataflow": "row_stationary",
            "zero_handling": draw(st.sampled_from(["none", "gate"])),
            "row_stationary": {key: draw(value) for key, value in pads.items()},
            **_array(draw),
            **draw(_common()),
            **_rooms(draw, [24, 64]),
            **fixed,
        }
    )


@st.composite
def cartesian_machines(draw: st.DrawFn, **fixed: Any) -> CartesianMachine:
    """Cartesian products: any multipliers, accumulators that hold a layer's sums or not."""
    return spatial(
        **{
            "dataflow": "cartesian",
            "zero_handling": draw(st.sampled_from(["none", "skip_both"])),
            **_array(draw, 4),
            "cartesian": {
                "weights": draw(st.integers(1, 5)),
                "inputs": draw(st.integers(1, 5)),
                "accumulators": draw(st.sampled_from([64, 1024, 4096])),
            },
            **draw(_common()),
            **_rooms(draw, [1, 64]),
            **fixed,
        }
    )


@st.composite
def matrix_vector_machines(draw: st.DrawFn, **fixed: Any) -> MatrixVectorMachine:
    """Interleaved rows: any number of lanes and places of their queues, filters in one tile or many."""
    return spatial(
        **{
            "dataflow": "interleaved",
            "zero_handling": "skip_both",
            "window": draw(st.integers(1, 8)),
            "vector_registers": draw(st.sampled_from([None, 1, 7])),
            **_array(draw, 4),
            **draw(_common()),
            "buffers__weight_kb": draw(st.sampled_from([1, 64])),
            "buffers__input_kb": draw(st.sampled_from([48, 128])),
            "buffers__output_kb": draw(st.sampled_from([24, 64])),
            **fixed,
        }
    )


def _known(family: type[Machine], keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that mean something to a family."""
    return {key: value for key, value in keys.items() if key.split("__")[0] in family.model_fields}


def tiled_machines(**fixed: Any) -> st.SearchStrategy[AnyMachine]:
    """Machines that cut a layer into tiles of a matrix product, of both kinds, those of cells apart."""
    return st.one_of(
        tiled_spatial_machines(**_known(StationaryMachine, fixed)),
        winograd_machines(**_known(WinogradMachine, fixed)),
        cell_machines(**_known(CellsMachine, fixed)),
    )


def choosing_machines() -> st.SearchStrategy[AnyMachine]:
    """Tiled machines of both kinds whose lanes choose their operands, sum several filters, or transform."""
    return st.one_of(tiled_spatial_machines(choosing=True), winograd_machines(choosing=True))


def machines(**fixed: Any) -> st.SearchStrategy[AnyMachine]:
    """Machines of every kind and dataflow."""
    return st.one_of(
        tiled_machines(**fixed),
        row_machines(**_known(RowStationaryMachine, fixed)),
        cartesian_machines(**_known(CartesianMachine, fixed)),
        matrix_vector_machines(**_known(MatrixVectorMachine, fixed)),
    )


def with_one_memory(machine: Machine) -> AnyMachine:
    """The machine with maps, tiles, transformed inputs and sums in one memory as large as its buffers together."""
    apart = {"buffers__shared": False} if hasattr(machine.buffers, "shared") else {}
    return changed(machine, buffers__activations="one", **apart)
