"""The description of one accelerator: a YAML file in ``hwconfigs/`` as a typed, validated record.

Two kinds.  ``spatial``: rows x cols multiply-accumulate lanes.  ``winograd``: taps x rows x cols lanes working on
n x n taps of Winograd-domain filters, with input and inverse transform units.  Both have global buffers for weights,
inputs and outputs (``winograd`` one more, for transformed inputs), one DMA engine and one DRAM.
"""

from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from accelsim.faults import nearest
from accelsim.hardware.dram import DRAM_TYPES, DramType
from accelsim.hardware.formats import Format
from accelsim.hardware.technology import ARITHMETIC_TABLES, Number

Count = Annotated[int, Field(ge=1, le=1 << 16)]
Bits = Annotated[int, Field(ge=1, le=64)]
Kilobytes = Annotated[float, Field(gt=0, le=1 << 20)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# Keys that make no difference to how many bits and multiplies a layer's masks come to.
MASK_FREE = {
    "name", "description", "clock_mhz", "node_nm", "pe_array", "buffers", "dram", "energy", "area", "objective",
    "vector_lanes", "transform_rate", "inverse_rate", "weight_transform_rate",
}  # fmt: skip

ZeroHandling = Literal["none", "gate", "skip_weights", "skip_both"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PeArray(_Part):
    """Lanes of a spatial array.  feed: how operands reach them (``accelsim.simulator.mode``)."""

    rows: Count
    cols: Count
    feed: Literal["broadcast", "systolic", "mesh"] = "broadcast"


class WinogradArray(_Part):
    """Lanes of a Winograd array: rows = tiles, cols = filters, taps worked on at a time (1 = tap-serial)."""

    rows: Count
    cols: Count
    taps: Count = 1


class RowStationary(_Part):
    """What a row-stationary array has beside its lanes (``accelsim.simulator.row_stationary``).

    filter_words, input_words, psum_words: each lane's scratch-pads.  The three buses join buffers and array, the one of
    partial sums once in each direction.  bank_kb: inputs and partial sums share input_kb + output_kb in whole banks.
    """

    filter_words: Count
    input_words: Count
    psum_words: Count
    filter_bus_bits: Count
    input_bus_bits: Count
    psum_bus_bits: Count
    bank_kb: Kilobytes


class Cartesian(_Part):
    """Multipliers of each element of a planar array (``accelsim.simulator.cartesian``).

    weights, inputs: non-zeros of each that meet, all with all, in a cycle.
    accumulators: sums that an element holds.
    """

    weights: Count
    inputs: Count
    accumulators: Count


class Decoder(_Part):
    """A decoder of the file's own entropy code between DRAM and weight buffer (``accelsim.hardware.decoder``).

    symbols_per_cycle: weights, zero ones included, that it gives a cycle.  table_kb: its adaptive statistics.
    """

    symbols_per_cycle: Positive
    table_kb: Kilobytes = 64


class Arithmetic(_Part):
    """Word widths.  ``table``: which published energies (``horowitz`` or ``aladdin``)."""

    number: Number = "int"
    weight_bits: Bits = 8
    activation_bits: Bits = 8
    accumulator_bits: Bits = 24
    transformed_bits: Bits = 10
    table: str = "horowitz"

    @model_validator(mode="after")
    def _check(self) -> "Arithmetic":
        if self.table not in ARITHMETIC_TABLES:
            raise ValueError(f"table {self.table!r}{nearest(self.table, ARITHMETIC_TABLES)}")
        return self


class Buffers(_Part):
    """Capacity of each global buffer, both halves of its double buffer together, and the width of its port.

    banks: of port_bits each, of every buffer (``accelsim.simulator.ports``); null: as many as the lanes need.
    shared: weights and inputs share weight_kb + input_kb, divided for each layer as it suits.
    """

    weight_kb: Kilobytes
    input_kb: Kilobytes
    output_kb: Kilobytes
    port_bits: Count = 128
    banks: Count | None = None
    shared: bool = False


class WinogradBuffers(Buffers):
    """The same, with the buffer of transformed inputs; 0 where ``cells`` transform them on the fly."""

    transformed_kb: Annotated[float, Field(ge=0, le=1 << 20)]


class Cells(_Part):
    """Multiplier cells that sum several channels at once and transform on the fly (``accelsim.simulator.cells``).

    channels: summed at each tap; taps x channels are where a layer runs directly.  channel_atom: channels come in
    multiples of it.  block: outputs are padded to block x block tiles.  kernel: the kernel size that Winograd serves,
    null for none.  stripe: output positions for which a cell holds its weights.
    """

    channels: Count
    channel_atom: Literal[1, 2, 4, 8, 16] = 16
    block: Annotated[int, Field(ge=1, le=4)] = 1
    kernel: Annotated[int, Field(ge=2, le=5)] | None = 3
    stripe: Count = 16


class Dram(_Part):
    """One DMA engine's memory.  The type's figures for each channel, and what replaces them (units in the names).

    bandwidth_gbs: peak, 1e9 bytes/s.  bank_overlap: whether rows are opened ahead (``accelsim.hardware.dram``).
    """

    type: str
    channels: Count = 1
    bank_overlap: bool = False
    bandwidth_gbs: Positive | None = None
    burst_bytes: Count | None = None
    row_bytes: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    row_miss_ns: NotNegative | None = None
    refresh: Annotated[float, Field(ge=0, lt=1)] | None = None
    read_to_write_ns: NotNegative | None = None
    write_to_read_ns: NotNegative | None = None
    activate_gap_ns: NotNegative | None = None

    @model_validator(mode="after")
    def _check(self) -> "Dram":
        if self.type not in DRAM_TYPES:
            raise ValueError(f"type {self.type!r}{nearest(self.type, DRAM_TYPES)}")
        return self

    @property
    def _settings(self) -> list[tuple[str, Any]]:
        """What may replace the type's."""
        return [(key, getattr(self, key)) for key in type(self).model_fields if key not in {"type", "channels"}]

    @cached_property
    def timing(self) -> DramType:
        """The DRAM type with the overrides applied."""
        own = {key: value for key, value in self._settings if value is not None}
        return replace(DRAM_TYPES[self.type], **own)

    @property
    def timing_source(self) -> str:
        """Where the times come from, and which are the machine's own."""
        own = [key for key, value in self._settings if key != "bank_overlap" and value is not None]
        source = f"{self.type}: {DRAM_TYPES[self.type].timing_source}"
        return f"{source}; machine file: {', '.join(own)}" if own else source


class EnergyOverrides(_Part):
    """Figures that replace the tables', each in the unit of its name; ``accelsim inspect MACHINE`` lists them."""

    mac_pj: NotNegative | None = None
    gated_share: NotNegative | None = None
    transform_add_pj: NotNegative | None = None
    register_pj_per_bit: NotNegative | None = None
    hop_pj_per_bit: NotNegative | None = None
    dram_activate_pj: NotNegative | None = None
    dram_move_pj_per_bit: NotNegative | None = None
    dram_io_pj_per_bit: NotNegative | None = None
    decode_symbol_pj: NotNegative | None = None
    index_pj: NotNegative | None = None
    weight_read_pj_per_bit: NotNegative | None = None
    weight_write_pj_per_bit: NotNegative | None = None
    input_read_pj_per_bit: NotNegative | None = None
    input_write_pj_per_bit: NotNegative | None = None
    transformed_read_pj_per_bit: NotNegative | None = None
    transformed_write_pj_per_bit: NotNegative | None = None
    output_read_pj_per_bit: NotNegative | None = None
    output_write_pj_per_bit: NotNegative | None = None
    logic_static_mw: NotNegative | None = None
    sram_leakage_mw: NotNegative | None = None


class AreaOverrides(_Part):
    """Areas of parts that replace the tables', in mm2; ``accelsim inspect MACHINE`` lists the parts."""

    lanes_mm2: NotNegative | None = None
    weight_buffer_mm2: NotNegative | None = None
    input_buffer_mm2: NotNegative | None = None
    transformed_buffer_mm2: NotNegative | None = None
    output_buffer_mm2: NotNegative | None = None
    scratch_pads_mm2: NotNegative | None = None
    input_transform_mm2: NotNegative | None = None
    inverse_transform_mm2: NotNegative | None = None
    decoder_mm2: NotNegative | None = None


class _Machine(_Part):
    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    clock_mhz: Annotated[float, Field(gt=0, le=10_000)]
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
    """A spatial-domain MAC array.  See ``accelsim.simulator.spatial`` for what each dataflow does.

    chunk: positions of a bitmask that an inner join takes at once, each chunk a cycle at least; null: no such bound.
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
    """A Winograd-domain accelerator.  See ``accelsim.simulator.winograd`` for what it does.

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
