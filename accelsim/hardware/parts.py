"""The parts of a machine's description that many machines have.

Arrays, buffers, arithmetic, DRAM, replaced figures.

A part is a group of keys of the machine's YAML file.  Its own docstring says what it is of the
hardware, the docstring under each key what the key means, in which unit, and what stands for it
where it is left out.
"""

from dataclasses import fields, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from accelsim.faults import nearest
from accelsim.hardware.datapath import Calibration, Integers, Overflow, Products, Scales, WeightScales
from accelsim.hardware.dram_types import DramType, dram_types
from accelsim.hardware.technology import Number
from accelsim.settings import Section

Count = Annotated[int, Field(ge=1, le=1 << 16)]
Bits = Annotated[int, Field(ge=1, le=64)]
# Physical ranges: what lies outside is a slip of the units, and may be beyond what cycles can be
# counted in.
Kilobytes = Annotated[float, Field(ge=1 / 1024, le=1 << 20)]  # a byte to a gigabyte
GigabytesPerSecond = Annotated[float, Field(ge=1e-3, le=1e6)]
PerCycle = Annotated[float, Field(ge=1e-3, le=1 << 16)]
Nanoseconds = Annotated[float, Field(ge=0, le=1e6)]  # up to a millisecond
Picojoules = Annotated[float, Field(ge=0, le=1e6)]  # up to a microjoule
Milliwatts = Annotated[float, Field(ge=0, le=1e6)]  # up to a kilowatt
SquareMillimetres = Annotated[float, Field(ge=0, le=1e6)]


# the memories of feature maps, tiles and sums
Activations = Literal["separate", "swap", "shared", "one"]
Keeps = Literal["separate", "swap", "shared"]  # what becomes of feature maps on chip
Weights = Literal["reload", "stay"]  # what becomes of weights from run to run
ONE_MEMORY = "activation"  # the name of the memory of ``activations: one``


class KeyGroup(Section):
    """A group of keys of a machine's file."""


class PeArray(KeyGroup):
    """Lanes in rows and columns."""

    rows: Count
    """Rows of the array."""
    cols: Count
    """Columns of the array."""


class Arithmetic(KeyGroup):
    """Word widths of a lane."""

    number: Number = "int"
    """``int``, ``fp16`` or ``fp32``; decides what a multiply-accumulate costs.  Default: int."""
    weight_bits: Bits = 8
    """Bits of a weight.  Default: 8."""
    activation_bits: Bits = 8
    """Bits of an activation, in every buffer and in DRAM.  Default: 8."""
    accumulator_bits: Bits = 24
    """Bits of a sum.  Default: 24."""
    scales: Scales = "multiply_shift"
    """``multiply_shift``: outputs are multiplied, then shifted; ``power_of_two``: shifted.
    Default: multiply_shift."""
    multiplier_bits: Annotated[int, Field(ge=2, le=24)] = 16
    """Bits of that multiplier, 2 to 24.  Default: 16."""
    weight_scales: WeightScales = "channel"
    """One scale for the weights of a layer (``tensor``), or one for each filter (``channel``).
    Default: channel."""
    calibration: Calibration = "least_error"
    """Range of words: ``max`` of the calibration images, ``percentile``, ``least_error``.  Default:
    least_error."""
    percentile: Annotated[float, Field(ge=50, le=100)] = 99.99
    """Share of the values within the range of calibration ``percentile``, percent, 50 to 100.
    Default: 99.99."""
    overflow: Overflow = "wrap"
    """What becomes of a sum beyond its width: ``wrap`` or ``saturate``.  Default: wrap."""
    products: Products = "full"
    """Whether sums take ``full`` products, or ``truncated`` ones, cut to the width of the sum.
    Default: full."""
    codebook_bits: Bits | None = None
    """Bits of shared values that weights of weight_bits are the indices of.  Default: none, weights
    are numbers."""

    @property
    def integers(self) -> Integers:
        """What of these keys decides the numbers that a machine computes."""
        names = {field.name for field in fields(Integers)} & type(self).model_fields.keys()
        return Integers(**{name: getattr(self, name) for name in names})


class Buffers(KeyGroup):
    """Global buffers: the capacity of each, both halves of its double buffer together, 1/1024 to 2^20 kB."""

    weight_kb: Kilobytes
    """Weights, 1024 bytes."""
    input_kb: Kilobytes
    """Inputs, 1024 bytes."""
    output_kb: Kilobytes
    """Outputs and partial sums, 1024 bytes."""
    port_bits: Count = 128
    """Width of a port, which decides what a bit of an access costs.  Default: 128."""
    activations: Activations = "separate"
    """What becomes of a feature map on chip (``simulator.network``): ``separate``, nothing stays
    from layer to layer; ``swap``, the output buffer of a layer may be the input buffer of the
    next; ``shared``, both are one memory of input_kb + output_kb, divided for each layer as it
    suits; ``one``, transformed inputs and sums lie there, too: all sizes but weight_kb make one
    memory, of a layer by itself as well, and are priced as one.  Default: separate."""

    weights: Weights = "reload"
    """What becomes of weights from run to run: ``reload``, each run loads them; ``stay``, where those
    of all layers fit weight_kb together they are there from the run before, and figures are those
    of every run but the first (not at level layers or fused).  Default: reload."""

    @property
    def one_memory(self) -> bool:
        """Whether one memory holds maps, tiles, transformed inputs and sums."""
        return self.activations == "one"

    @property
    def keeps(self) -> Keeps:
        """What becomes of feature maps on chip."""
        return "shared" if self.activations == "one" else self.activations

    @property
    def map_buffers(self) -> tuple[str, ...]:
        """Names of the buffers in whose bytes maps and tiles lie together, where they do."""
        names = ("input", "transformed", "output") if self.one_memory else ("input", "output")
        return tuple(name for name in names if f"{name}_kb" in type(self).model_fields)

    @property
    def map_bytes(self) -> int:
        """Bytes of those buffers."""
        return sum(int(self.capacity_bytes(name)) for name in self.map_buffers)

    def memory_of(self, name: str) -> str:
        """The memory that a buffer lies in: itself, or the one of all but weights."""
        return ONE_MEMORY if self.one_memory and name != "weight" else name

    @property
    def sizes_kb(self) -> dict[str, float]:
        """Capacity of each buffer by name, 1024 bytes."""
        return {name.removesuffix("_kb"): size for name, size in self if name.endswith("_kb")}

    def capacity_bytes(self, name: str) -> float:
        """Bytes of a buffer, both halves of its double buffer together."""
        return 1024 * float(getattr(self, f"{name}_kb"))

    def half_bytes(self, name: str) -> float:
        """Bytes of one half of a double buffer: what one tile may fill."""
        return self.capacity_bytes(name) / 2


class Post(KeyGroup):
    """What the vector lanes can do on the way out of the layer that computes, instead of in a pass of its own."""

    add: bool = False
    """Whether a residual addition can ride on the outputs.  Default: no."""
    pool: bool = False
    """Whether a pooling can, its lines held in the output buffer.  Default: no."""


class Dram(KeyGroup):
    """The memory behind the one DMA engine: a type's figures for each channel, and what replaces them."""

    type: str
    """Name of a type in ``hardware.dram``, such as LPDDR4-3200."""
    channels: Count = 1
    """DRAMs side by side.  Default: 1."""
    bandwidth_gbs: GigabytesPerSecond | None = None
    """Peak rate of a channel, 1e9 bytes/s, 0.001 to 1e6 (unlimited: the type ``ideal``).  Default:
    the type's."""
    burst_bytes: Count | None = None
    """Bytes of a burst.  Default: the type's."""
    row_bytes: Annotated[int, Field(ge=1, le=1 << 30)] | None = None
    """Bytes of a row.  Default: the type's."""
    ranks: Count | None = None
    """Ranks of a channel.  Default: the type's."""
    banks: Count | None = None
    """Banks of a rank, all bank groups together.  Default: the type's."""
    interleaved_groups: Count | None = None
    """Bank groups that consecutive bursts alternate over; 1: they stay in one, tCCD_L apart.
    Default: the type's."""
    write_queue_bursts: Count | None = None
    """Bursts of writes that the controller of a channel gathers before it turns the bus, 1 to 65536:
    fewer between loads pay a share of the turns; 1: any store pays whole ones.  Default: the type's."""
    t_rcd_ns: Nanoseconds | None = None
    """From opening a row to its first access, ns, up to 1e6.  Default: the type's."""
    t_rp_ns: Nanoseconds | None = None
    """To close a row, ns, up to 1e6.  Default: the type's."""
    t_cl_ns: Nanoseconds | None = None
    """From the command to read to the data, ns, up to 1e6.  Default: the type's."""
    t_rrd_ns: Nanoseconds | None = None
    """Between rows opened in two banks of a rank, ns, up to 1e6.  Default: the type's."""
    t_faw_ns: Nanoseconds | None = None
    """From the first to the last of any five rows opened in a rank, ns, up to 1e6.  Default: the
    type's."""
    t_ccd_l_ns: Nanoseconds | None = None
    """Between bursts of one bank group, ns, up to 1e6.  Default: the type's, in clocks of the peak
    rate."""
    t_wtr_ns: Nanoseconds | None = None
    """From written data to the command to read, ns, up to 1e6.  Default: the type's."""
    t_rtw_ns: Nanoseconds | None = None
    """From read data to written data, ns, up to 1e6.  Default: the type's."""
    t_rfc_ns: Nanoseconds | None = None
    """Of a refresh, ns, at most 0.9 tREFI.  Default: the type's."""
    t_refi_ns: Annotated[float, Field(ge=1, le=1e6)] | None = None
    """From one refresh to the next, ns, 1 to 1e6.  Default: the type's."""

    @model_validator(mode="after")
    def _check(self) -> "Dram":
        if self.type not in dram_types():
            raise ValueError(f"type {self.type!r}{nearest(self.type, dram_types())}")
        if self.timing.refresh > 0.9:
            raise ValueError(f"t_rfc_ns is {self.timing.t_rfc_ns:g}, expected at most 0.9 t_refi_ns")
        return self

    @property
    def own(self) -> dict[str, Any]:
        """What replaces the type's figures."""
        settings = {key: getattr(self, key) for key in type(self).model_fields if key not in {"type", "channels"}}
        return {key: value for key, value in settings.items() if value is not None}

    @cached_property
    def timing(self) -> DramType:
        """The DRAM type with the overrides applied."""
        usual = dram_types()[self.type]
        in_clocks = {}
        if self.bandwidth_gbs is not None and usual.t_ccd_l_ns:
            in_clocks["t_ccd_l_ns"] = usual.t_ccd_l_ns * usual.bandwidth_gbs / self.bandwidth_gbs
        return replace(usual, **(in_clocks | self.own))


class EnergyOverrides(KeyGroup):
    """Figures that replace the tables', each in the unit of its name.

    ``accelsim inspect MACHINE`` lists them.

    Energies are 0 to 1e6 pJ, powers 0 to 1e6 mW.
    """

    mac_pj: Picojoules | None = None
    """A multiply-accumulate."""
    mac_busy_pj: Picojoules | None = None
    """A multiply whose product and the one before are not zero (energy_table gates, as all up to
    wire_pj_per_bit)."""
    mac_turning_pj: Picojoules | None = None
    """A multiply into a product of zero, or out of it."""
    mac_still_pj: Picojoules | None = None
    """A multiply of zero behind one of zero."""
    signed_busy_pj: Picojoules | None = None
    """``mac_busy_pj`` of operands of either sign."""
    signed_turning_pj: Picojoules | None = None
    """``mac_turning_pj`` of operands of either sign."""
    signed_still_pj: Picojoules | None = None
    """``mac_still_pj`` of operands of either sign."""
    direct_busy_pj: Picojoules | None = None
    """``signed_busy_pj`` of pixels, where transformed inputs are wider."""
    direct_turning_pj: Picojoules | None = None
    """``signed_turning_pj`` of pixels, where transformed inputs are wider."""
    direct_still_pj: Picojoules | None = None
    """``signed_still_pj`` of pixels, where transformed inputs are wider."""
    stream_step_pj: Picojoules | None = None
    """A weight that a stream hands to its lanes."""
    stream_start_pj: Picojoules | None = None
    """A stream that starts: its length and its pointer."""
    input_tile_pj: Picojoules | None = None
    """A tile-channel through the input transform unit."""
    inverse_tile_pj: Picojoules | None = None
    """A tile-filter through the inverse transform unit."""
    wire_pj_per_bit: Picojoules | None = None
    """A bit between a global buffer and the array."""
    gated_share: Annotated[float, Field(ge=0, le=100)] | None = None
    """A gated multiply-accumulate, as a share of an active one."""
    transform_add_pj: Picojoules | None = None
    """An addition of a transform unit."""
    register_pj_per_bit: Picojoules | None = None
    """A bit read from or written to an operand register."""
    hop_pj_per_bit: Picojoules | None = None
    """A bit handed to the next lane, or taken from a bus."""
    dram_activate_pj: Picojoules | None = None
    """Opening a DRAM row."""
    dram_read_pj_per_bit: Picojoules | None = None
    """A bit read on the DRAM's chips, from its row to the edge."""
    dram_write_pj_per_bit: Picojoules | None = None
    """A bit written on the DRAM's chips, from the edge to its row."""
    dram_read_io_pj_per_bit: Picojoules | None = None
    """A bit that is read, driven over the line."""
    dram_write_io_pj_per_bit: Picojoules | None = None
    """A bit that is written, driven over the line."""
    dram_standby_mw: Milliwatts | None = None
    """Standby of all DRAM, rows open."""
    dram_refresh_mw: Milliwatts | None = None
    """Refresh of all DRAM, on average."""
    decode_symbol_pj: Picojoules | None = None
    """A weight that the decoder of the file's entropy code gives."""
    index_pj: Picojoules | None = None
    """The address of an operand that was skipped to."""
    weight_read_pj_per_bit: Picojoules | None = None
    """A bit read from the weight buffer."""
    weight_write_pj_per_bit: Picojoules | None = None
    """A bit written to the weight buffer."""
    input_read_pj_per_bit: Picojoules | None = None
    """A bit read from the input buffer."""
    input_write_pj_per_bit: Picojoules | None = None
    """A bit written to the input buffer."""
    transformed_read_pj_per_bit: Picojoules | None = None
    """A bit read from the buffer of transformed inputs."""
    transformed_write_pj_per_bit: Picojoules | None = None
    """A bit written to the buffer of transformed inputs."""
    output_read_pj_per_bit: Picojoules | None = None
    """A bit read from the output buffer."""
    output_write_pj_per_bit: Picojoules | None = None
    """A bit written to the output buffer."""
    logic_static_mw: Milliwatts | None = None
    """Leakage and clock of all logic."""
    sram_leakage_mw: Milliwatts | None = None
    """Leakage of all global buffers."""


class AreaOverrides(KeyGroup):
    """Areas of parts that replace the tables', 0 to 1e6 mm2.

    ``accelsim inspect MACHINE`` lists the parts.
    """

    lanes_mm2: SquareMillimetres | None = None
    """All lanes."""
    streams_mm2: SquareMillimetres | None = None
    """Pointers, lengths and indexes of all streams of weights (energy_table gates)."""
    control_mm2: SquareMillimetres | None = None
    """The array's control (energy_table gates)."""
    weight_buffer_mm2: SquareMillimetres | None = None
    """Both halves of the weight buffer."""
    input_buffer_mm2: SquareMillimetres | None = None
    """Both halves of the input buffer."""
    transformed_buffer_mm2: SquareMillimetres | None = None
    """Both halves of the buffer of transformed inputs."""
    output_buffer_mm2: SquareMillimetres | None = None
    """Both halves of the output buffer."""
    activation_buffer_mm2: SquareMillimetres | None = None
    """Both halves of the one memory of ``buffers.activations: one``, in place of the three before."""
    scratch_pads_mm2: SquareMillimetres | None = None
    """The scratch-pads of all lanes."""
    input_transform_mm2: SquareMillimetres | None = None
    """All input transform units."""
    inverse_transform_mm2: SquareMillimetres | None = None
    """All inverse transform units."""
    decoder_mm2: SquareMillimetres | None = None
    """The decoder of the file's entropy code."""
