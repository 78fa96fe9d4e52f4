"""The description of one accelerator: a YAML file in ``hwconfigs/`` as a typed, validated record.

Two kinds.  ``spatial``: rows x cols multiply-accumulate lanes.  ``winograd``: taps x rows x cols lanes working on
n x n taps of Winograd-domain filters, with input and inverse transform units.  Both have global buffers for weights,
inputs and outputs (``winograd`` one more, for transformed inputs), one DMA engine and one DRAM.
"""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.hardware.formats import Format
from accelsim.hardware.parts import (
    AreaOverrides,
    Arithmetic,
    Buffers,
    Cartesian,
    Cells,
    Count,
    Decoder,
    Dram,
    EnergyOverrides,
    Part,
    PeArray,
    RowStationary,
    WinogradArray,
    WinogradBuffers,
)

# Keys that make no difference to how many bits and multiplies a layer's masks come to.
MASK_FREE = {
    "name", "description", "clock_mhz", "node_nm", "pe_array", "buffers", "dram", "energy", "area", "objective",
    "vector_lanes", "transform_rate", "inverse_rate", "weight_transform_rate",
}  # fmt: skip

ZeroHandling = Literal["none", "gate", "skip_weights", "skip_both"]


class _Machine(Part):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    clock_mhz: Annotated[float, Field(ge=0.01, le=10_000)]  # 10 kHz to 10 GHz
    node_nm: Annotated[int, Field(ge=7, le=65)]
    arithmetic: Arithmetic = Arithmetic()
    zero_handling: ZeroHandling = "skip_weights"
    balance: Literal["none", "greedy", "paired"] = "none"
    window: Annotated[int, Field(ge=1, le=1 << 10)] = 1
    weight_format: Format = "bitmask"
    decoder: Decoder | None = None
    activation_format: Literal["dense", "bitmask", "run_length", "packed_run_length"] = "dense"
    vector_lanes: Count = 16
    dram: Dram
    energy: EnergyOverrides = EnergyOverrides()
    area: AreaOverrides = AreaOverrides()
    objective: Literal["cycles", "dram", "energy", "edp"] = "cycles"

    @cached_property
    def mask_settings(self) -> str:
        """All of the description but what makes no difference to the counts of a layer's masks, as one text."""
        free = MASK_FREE - {"pe_array"} if self.balance == "paired" else MASK_FREE  # pairs depend on the columns
        return self.model_dump_json(exclude=free)

    @property
    def ns_per_cycle(self) -> float:
        """Clock period."""
        return 1000.0 / self.clock_mhz


class SpatialMachine(_Machine):
    """A spatial-domain MAC array.  See ``accelsim.simulator.machines.stationary`` for what each dataflow does.

    chunk: positions of a bitmask that an inner join takes at once, each chunk a cycle at least; null: no such bound.
    vector_registers: inputs that a lane of interleaved rows holds; longer vectors come in batches; null: all of them.
    """

    kind: Literal["spatial"]
    dataflow: Literal[
        "output_stationary", "weight_stationary", "input_stationary", "row_stationary", "cartesian", "interleaved"
    ] = "output_stationary"
    pe_array: PeArray
    buffers: Buffers
    row_stationary: RowStationary | None = None
    cartesian: Cartesian | None = None
    chunk: Count | None = None
    vector_registers: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> "SpatialMachine":
        faults = []
        skips = self.zero_handling in {"skip_weights", "skip_both"}
        output_stationary = self.dataflow == "output_stationary"
        if skips and self.pe_array.feed != "broadcast":
            faults.append(
                f"pe_array.feed {self.pe_array.feed!r} keeps lanes in step, expected zero_handling none or gate"
            )
        if self.pe_array.feed == "mesh" and not output_stationary:
            faults.append("pe_array.feed 'mesh' expects dataflow output_stationary")
        if skips and self.dataflow in {"input_stationary", "row_stationary"}:
            faults.append(f"dataflow {self.dataflow} expects zero_handling none or gate")
        if (self.dataflow == "row_stationary") != (self.row_stationary is not None):
            faults.append("dataflow row_stationary and the group row_stationary expect each other")
        if self.dataflow == "row_stationary" and self.pe_array.feed != "broadcast":
            faults.append("dataflow row_stationary expects no pe_array.feed: it has buses of its own")
        if self.dataflow == "row_stationary" and self.buffers.shared:
            faults.append("dataflow row_stationary expects no buffers.shared: inputs share with partial sums")
        if self.dataflow in {"row_stationary", "cartesian", "interleaved"}:
            if self.decoder is not None:
                faults.append(f"decoder expects another dataflow than {self.dataflow}")
            if self.buffers.banks is not None:
                faults.append(f"buffers.banks expects another dataflow than {self.dataflow}")
        if self.zero_handling == "skip_both" and not (
            output_stationary or self.dataflow in {"cartesian", "interleaved"}
        ):
            faults.append("zero_handling skip_both expects dataflow output_stationary, cartesian or interleaved")
        if self.dataflow == "interleaved" and self.zero_handling != "skip_both":
            faults.append(f"zero_handling {self.zero_handling!r}: dataflow interleaved expects skip_both")
        if self.dataflow == "interleaved" and (self.pe_array.feed != "broadcast" or self.buffers.shared):
            faults.append("dataflow interleaved expects no pe_array.feed and no buffers.shared")
        if self.vector_registers is not None and self.dataflow != "interleaved":
            faults.append("vector_registers expects dataflow interleaved")
        if self.chunk is not None and not (self.zero_handling == "skip_both" and output_stationary):
            faults.append("chunk expects zero_handling skip_both, dataflow output_stationary")
        if (self.dataflow == "cartesian") != (self.cartesian is not None):
            faults.append("dataflow cartesian and the group cartesian expect each other")
        if self.dataflow == "cartesian" and self.zero_handling not in {"none", "skip_both"}:
            faults.append(f"zero_handling {self.zero_handling!r}: dataflow cartesian expects none or skip_both")
        if self.dataflow == "cartesian" and (self.pe_array.feed != "broadcast" or self.buffers.shared):
            faults.append("dataflow cartesian expects no pe_array.feed and no buffers.shared")
        if self.window > 1 and not (skips and (output_stationary or self.dataflow == "interleaved")):
            faults.append(
                "window over 1 expects zero_handling skip_weights or skip_both, "
                "dataflow output_stationary or interleaved"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def lanes(self) -> int:
        """Multipliers."""
        each = 1 if self.cartesian is None else self.cartesian.weights * self.cartesian.inputs
        return self.pe_array.rows * self.pe_array.cols * each

    @property
    def sram_bytes(self) -> int:
        """Capacity of all global buffers."""
        b = self.buffers
        return int(1024 * (b.weight_kb + b.input_kb + b.output_kb))


class WinogradMachine(_Machine):
    """A Winograd-domain accelerator.  See ``accelsim.simulator.machines.winograd`` for what it does.

    tile: m, outputs a tile and dimension.  transform_rate: tile-channels that the input transform unit takes a cycle;
    inverse_rate: tile-filters that the inverse transform unit gives a cycle.
    polyphase: layers at a stride may run by Winograd, as several at stride 1; largest_kernel: of the transform units,
    larger kernels may run as several smaller ones (null: no limit); hybrid: any layer may run as a plain matrix
    multiplication; the mapping takes what scores lowest.  weight_transform: where filters are transformed, and
    weight_transform_rate: filter-channels that the on-chip unit takes a cycle.
    cells: the lanes come in cells, one a filter (column).
    """

    kind: Literal["winograd"]
    tile: Annotated[int, Field(ge=2, le=6)] = 2
    pe_array: WinogradArray
    buffers: WinogradBuffers
    transform_rate: Count
    inverse_rate: Count
    polyphase: bool = False
    largest_kernel: Annotated[int, Field(ge=2, le=11)] | None = None
    hybrid: bool = False
    weight_transform: Literal["off_line", "on_chip"] = "off_line"
    weight_transform_rate: Count = 4
    cells: Cells | None = None

    @model_validator(mode="after")
    def _check(self) -> "WinogradMachine":
        faults = []
        if self.zero_handling == "skip_both":
            faults.append("zero_handling skip_both: Winograd-domain inputs are dense, expected skip_weights")
        if self.window > 1 and self.zero_handling != "skip_weights":
            faults.append("window over 1 expects zero_handling skip_weights")
        if self.decoder is not None and self.weight_transform != "on_chip":
            faults.append("decoder expects weight_transform on_chip: the file holds spatial weights")
        if self.cells is None:
            if self.buffers.transformed_kb == 0:
                faults.append("buffers.transformed_kb 0 expects cells, which transform on the fly")
        else:
            faults += _cell_faults(self, self.cells)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def lanes(self) -> int:
        """Multipliers."""
        channels = 1 if self.cells is None else self.cells.channels
        return self.pe_array.taps * channels * self.pe_array.rows * self.pe_array.cols

    @property
    def sram_bytes(self) -> int:
        """Capacity of all global buffers."""
        b = self.buffers
        return int(1024 * (b.weight_kb + b.input_kb + b.output_kb + b.transformed_kb))


def _cell_faults(machine: WinogradMachine, cells: Cells) -> list[str]:
    """What does not go together with cells."""
    faults, array = [], machine.pe_array
    if machine.zero_handling not in {"none", "gate"}:
        faults.append(f"zero_handling {machine.zero_handling!r}: cells work in step, expected none or gate")
    if machine.weight_transform != "off_line" or machine.polyphase:
        faults.append("cells expect weight_transform off_line and no polyphase")
    if cells.kernel is not None:
        taps = (machine.tile + cells.kernel - 1) ** 2
        if taps % array.taps:
            faults.append(f"pe_array.taps {array.taps}, expected a divisor of the {taps} taps of cells")
    for key, rate, needed in (
        ("transform_rate", machine.transform_rate, array.rows * cells.channels),
        ("inverse_rate", machine.inverse_rate, array.rows * array.cols),
    ):
        if rate < needed:
            faults.append(f"{key} {rate}, expected at least {needed} to keep pace with the cells")
    return faults


Machine = Annotated[SpatialMachine | WinogradMachine, Field(discriminator="kind")]
