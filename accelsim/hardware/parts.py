"""The parts of a machine's description: arrays, buffers, arithmetic, DRAM, and figures that replace the tables'."""

from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from accelsim.faults import nearest
from accelsim.hardware.dram import DRAM_TYPES, DramType
from accelsim.hardware.technology import ARITHMETIC_TABLES, Number
from accelsim.settings import Section

Count = Annotated[int, Field(ge=1, le=1 << 16)]
Bits = Annotated[int, Field(ge=1, le=64)]
# Physical ranges: what lies outside is a slip of the units, and may be beyond what cycles can be counted in.
Kilobytes = Annotated[float, Field(ge=1 / 1024, le=1 << 20)]  # a byte to a gigabyte
GigabytesPerSecond = Annotated[float, Field(ge=1e-3, le=1e6)]
PerCycle = Annotated[float, Field(ge=1e-3, le=1 << 16)]
Nanoseconds = Annotated[float, Field(ge=0, le=1e6)]  # up to a millisecond
Picojoules = Annotated[float, Field(ge=0, le=1e6)]  # up to a microjoule
Milliwatts = Annotated[float, Field(ge=0, le=1e6)]  # up to a kilowatt
SquareMillimetres = Annotated[float, Field(ge=0, le=1e6)]


class Part(Section):
    """A group of keys of a machine."""


class PeArray(Part):
    """Lanes of a spatial array.  feed: how operands reach them (``accelsim.simulator.tiles.mode``)."""

    rows: Count
    cols: Count
    feed: Literal["broadcast", "systolic", "mesh"] = "broadcast"


class WinogradArray(Part):
    """Lanes of a Winograd array: rows = tiles, cols = filters, taps worked on at a time (1 = tap-serial)."""

    rows: Count
    cols: Count
    taps: Count = 1


class RowStationary(Part):
    """What a row-stationary array has beside its lanes (``accelsim.simulator.machines.row_stationary.passes``).

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


class Cartesian(Part):
    """Multipliers of each element of a planar array (``accelsim.simulator.machines.cartesian``).

    weights, inputs: non-zeros of each that meet, all with all, in a cycle.
    accumulators: sums that an element holds.
    """

    weights: Count
    inputs: Count
    accumulators: Count


class Decoder(Part):
    """A decoder of the file's own entropy code between DRAM and weight buffer (``accelsim.hardware.decoder``).

    symbols_per_cycle: weights, zero ones included, that it gives a cycle, 0.001 to 65536.  table_kb: its adaptive
    statistics.
    """

    symbols_per_cycle: PerCycle
    table_kb: Kilobytes = 64


class Arithmetic(Part):
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


class Buffers(Part):
    """Capacity of each global buffer, both halves of its double buffer together, and the width of its port.

    A capacity is 1/1024 to 2^20 kB.
    banks: of port_bits each, of every buffer (``accelsim.simulator.tiles.ports``); null: as many as the lanes need.
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


class Cells(Part):
    """Multiplier cells that sum several channels at once and transform on the fly (``simulator.machines.cells``).

    channels: summed at each tap; taps x channels are where a layer runs directly.  channel_atom: channels come in
    multiples of it.  block: outputs are padded to block x block tiles.  kernel: the kernel size that Winograd serves,
    null for none.  stripe: output positions for which a cell holds its weights.
    """

    channels: Count
    channel_atom: Literal[1, 2, 4, 8, 16] = 16
    block: Annotated[int, Field(ge=1, le=4)] = 1
    kernel: Annotated[int, Field(ge=2, le=5)] | None = 3
    stripe: Count = 16


class Dram(Part):
    """One DMA engine's memory.  The type's figures for each channel, and what replaces them (units in the names).

    bandwidth_gbs: peak, 1e9 bytes/s, 0.001 to 1e6 (unlimited: the type ``ideal``).  Times are up to 1e6 ns, refresh
    (the share of the time that it takes) up to 0.9.  bank_overlap: whether rows are opened ahead
    (``accelsim.hardware.dram``).
    """

    type: str
    channels: Count = 1
    bank_overlap: bool = False
    bandwidth_gbs: GigabytesPerSecond | None = None
    burst_bytes: Count | None = None
    row_bytes: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    row_miss_ns: Nanoseconds | None = None
    refresh: Annotated[float, Field(ge=0, le=0.9)] | None = None
    read_to_write_ns: Nanoseconds | None = None
    write_to_read_ns: Nanoseconds | None = None
    activate_gap_ns: Nanoseconds | None = None

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


class EnergyOverrides(Part):
    """Figures that replace the tables', each in the unit of its name; ``accelsim inspect MACHINE`` lists them.

    Energies are 0 to 1e6 pJ, powers 0 to 1e6 mW, ``gated_share`` (of an active multiply's energy) 0 to 1.
    """

    mac_pj: Picojoules | None = None
    gated_share: Annotated[float, Field(ge=0, le=1)] | None = None
    transform_add_pj: Picojoules | None = None
    register_pj_per_bit: Picojoules | None = None
    hop_pj_per_bit: Picojoules | None = None
    dram_activate_pj: Picojoules | None = None
    dram_move_pj_per_bit: Picojoules | None = None
    dram_io_pj_per_bit: Picojoules | None = None
    decode_symbol_pj: Picojoules | None = None
    index_pj: Picojoules | None = None
    weight_read_pj_per_bit: Picojoules | None = None
    weight_write_pj_per_bit: Picojoules | None = None
    input_read_pj_per_bit: Picojoules | None = None
    input_write_pj_per_bit: Picojoules | None = None
    transformed_read_pj_per_bit: Picojoules | None = None
    transformed_write_pj_per_bit: Picojoules | None = None
    output_read_pj_per_bit: Picojoules | None = None
    output_write_pj_per_bit: Picojoules | None = None
    logic_static_mw: Milliwatts | None = None
    sram_leakage_mw: Milliwatts | None = None


class AreaOverrides(Part):
    """Areas of parts that replace the tables', 0 to 1e6 mm2; ``accelsim inspect MACHINE`` lists the parts."""

    lanes_mm2: SquareMillimetres | None = None
    weight_buffer_mm2: SquareMillimetres | None = None
    input_buffer_mm2: SquareMillimetres | None = None
    transformed_buffer_mm2: SquareMillimetres | None = None
    output_buffer_mm2: SquareMillimetres | None = None
    scratch_pads_mm2: SquareMillimetres | None = None
    input_transform_mm2: SquareMillimetres | None = None
    inverse_transform_mm2: SquareMillimetres | None = None
    decoder_mm2: SquareMillimetres | None = None
