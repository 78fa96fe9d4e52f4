"""What machines have in common that run a layer as tiles of a matrix product on side-by-side lanes."""

from abc import abstractmethod
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from accelsim.hardware.decoder import SOURCE as DECODER_SOURCE
from accelsim.hardware.decoder import decoder_mm2, symbol_pj
from accelsim.hardware.description import MASK_FREE, MachineDescription
from accelsim.hardware.parts import Buffers, Count, Keeps, KeyGroup, Kilobytes, PeArray, PerCycle
from accelsim.hardware.price import Area, Price
from accelsim.hardware.selection import AREA_SOURCE as SELECTION_AREA_SOURCE
from accelsim.hardware.selection import (
    MUX_SOURCE,
    WINDOW_SOURCE,
    WindowSize,
    registers_um2,
    select_pj,
    select_um2,
    window_pj_per_bit,
    window_um2,
)
from accelsim.simulator.tiles.mode import Mode, Window
from accelsim.workload import LayerWork

# areas of parts
AROUND_LANES = {"operand_windows", "operand_selection", "lane_sums", "lane_inverse"}
RunAhead = Annotated[int, Field(ge=1, le=1 << 10)]
SumsOfLane = Annotated[int, Field(ge=1, le=64)]


class Decoder(KeyGroup):
    """A decoder of the file's own entropy code between DRAM and weight buffer (``hardware.decoder``)."""

    symbols_per_cycle: PerCycle
    """Weights, zero ones included, that it gives a cycle, 0.001 to 65,536."""
    table_kb: Kilobytes = 64
    """Memory of its adaptive statistics, 1024 bytes.  Default: 64."""


class TiledBuffers(Buffers):
    """Global buffers whose ports may be few, and whose halves may be divided anew for each layer."""

    banks: Count | None = None
    """Banks of port_bits each, of every buffer (``tiles.ports``).  Default: as many as the lanes need."""
    shared: bool = False
    """Whether weights and inputs share weight_kb + input_kb, divided for each layer as it suits; no map stays then.
    Default: no."""

    @model_validator(mode="after")
    def _check(self) -> "TiledBuffers":
        if self.shared and self.one_memory:
            raise ValueError("activations one, expected separate, swap or shared beside shared yes")
        return self

    @property
    def keeps(self) -> Keeps:
        """What becomes of maps: nothing stays where weights take of the inputs' room."""
        return "separate" if self.shared else super().keeps


class TiledDescription(MachineDescription):
    """Keys of machines that run layers as tiles of a matrix product."""

    pe_array: PeArray
    """Lanes in rows and columns; a column works on one filter."""
    buffers: TiledBuffers
    """Global buffers."""

    @property
    def streams(self) -> int:
        """Streams of weights: one a column."""
        return self.pe_array.cols

    @abstractmethod
    def modes(self, work: LayerWork) -> tuple[Mode, ...]:
        """The ways in which the machine executes a conv or linear layer."""


class OperandWindow(KeyGroup):
    """Operand vectors at hand, from which columns with zeros of their own choose (``tiles.selection``)."""

    positions: Count
    """Operand vectors of a window: of a filter's positions, or channels of a tap."""
    banks: Count
    """Banks of a window, each of which gives one vector a cycle; at most as many as positions."""


class SkippingDescription(TiledDescription):
    """Keys of machines whose lanes may skip zeros, so that it matters which filters work side by side."""

    balance: Literal["none", "greedy", "paired"] = "none"
    """Which filters work side by side: as they come, of similar fullness, or a full one with an empty one behind."""
    window: RunAhead = 1
    """Filters (and tap groups) that a lane may run ahead before it waits for the others.  Default: 1."""
    decoder: Decoder | None = None
    """A decoder of the file's own entropy code.  Default: none, weights travel in ``weight_format``."""

    operand_window: OperandWindow | None = None
    """Windows that lanes choose their operands from.  Default: none, each finds any operand at no cost."""
    filters_per_lane: SumsOfLane = 1
    """Filters that a lane sums up at a time, for each operand that it reads.  Default: 1."""
    outputs_per_lane: SumsOfLane = 1
    """Outputs (or m x m tiles) that a lane sums up at a time, for each weight that it reads.  Default: 1."""

    @property
    def chooses_freely(self) -> bool:
        """Whether each column of lanes skips zeros of its own and has no ``operand_window`` to choose from."""
        streams = self.zero_handling == "skip_weights" and not self.holds_weights
        return streams and self.operand_window is None

    @property
    def lanes_by_zeros(self) -> dict[str, Any]:
        """What of the lanes' arrangement these keys say: fields of ``LaneArray``."""
        window = self.operand_window
        return {
            "window": self.window,
            "filters_each": self.filters_per_lane,
            "outputs_each": self.outputs_per_lane,
            "operands": None if window is None else Window(window.positions, window.banks),
        }

    def lane_faults(self, output_stationary: bool) -> list[str]:
        """What does not go together among the keys of choice and reuse.

        output_stationary: and fed by broadcast.
        """
        faults = []
        many = {
            "operand_window": self.operand_window is not None,
            "filters_per_lane over 1": self.filters_per_lane > 1,
            "outputs_per_lane over 1": self.outputs_per_lane > 1,
        }
        for key in (key for key, given in many.items() if given):
            if not output_stationary:
                faults.append(f"{key} expects dataflow output_stationary, pe_array.feed broadcast")
            if self.window > 1:
                faults.append(f"{key} expects window 1")
            if self.zero_handling == "skip_both":
                faults.append(f"{key} expects zero_handling none, gate or skip_weights")
        window = self.operand_window
        if window is not None and window.banks > window.positions:
            faults.append(f"operand_window.banks {window.banks}, expected at most its {window.positions} positions")
        return faults

    @property
    def around_lanes_mm2(self) -> float:
        """Operand windows, the choice of operands, further sums, transforms in the lanes."""
        return sum(area.mm2 for name, area in self.own_areas().items() if name in AROUND_LANES)

    @property
    def window_count(self) -> int:
        """Operand windows side by side: one for each tap that is worked on at a time."""
        return 1

    @property
    def window_size(self) -> WindowSize | None:
        """Each operand window, as wide as the rows of lanes."""
        window = self.operand_window
        if window is None:
            return None
        return WindowSize(
            window.positions, window.banks, self.pe_array.rows * self.outputs_per_lane * self.operand_bits
        )

    @cached_property
    def mask_settings(self) -> str:
        """All of the description that the counts of a layer's masks depend on.

        Pairs depend on the columns, too.
        """
        free = MASK_FREE - {"pe_array"} if self.balance == "paired" else MASK_FREE
        return self.model_dump_json(exclude=free)

    @property
    def chunk_size(self) -> int | None:
        """Positions of a bitmask that an inner join takes at once, a cycle at least; None.

        No such bound.
        """
        return None

    def own_prices(self) -> dict[str, Price]:
        """The decoder's price of a weight, and those of the choice of operands and sums."""
        found = {}
        if self.decoder is not None:
            pj = symbol_pj(self.energy_table, self.node_nm, self.decoder.table_kb)
            found["decode_symbol"] = Price(pj, "pJ/symbol", "transform", DECODER_SOURCE)
        choice = select_pj(self.published_table, self.node_nm)
        size = self.window_size
        if size is not None:
            read, write = window_pj_per_bit(size, self.node_nm)
            found["window_fill_bit"] = Price(write, "pJ/bit", "register", WINDOW_SOURCE)
            found["window_fetch_bit"] = Price(read, "pJ/bit", "register", WINDOW_SOURCE)
            found["select_bit"] = Price(choice, "pJ/bit", "register", MUX_SOURCE)
        if self.filters_per_lane * self.outputs_per_lane > 1:
            found["sum_select_bit"] = Price(choice, "pJ/bit", "register", MUX_SOURCE)
        return found

    def own_areas(self) -> dict[str, Area]:
        """The decoder's area, and those of operand windows, of the choice among their banks and of further sums."""
        node = self.node_nm
        found = {}
        if self.decoder is not None:
            mm2 = decoder_mm2(node, self.decoder.symbols_per_cycle, self.decoder.table_kb)
            found["decoder"] = Area(mm2, DECODER_SOURCE)
        size = self.window_size
        if size is not None:
            one_choice = select_um2(size.banks, self.operand_bits, node)
            choices = self.lanes * self.outputs_per_lane * one_choice
            windows_mm2 = self.window_count * window_um2(size, node) / 1e6
            found["operand_windows"] = Area(windows_mm2, SELECTION_AREA_SOURCE)
            found["operand_selection"] = Area(choices / 1e6, SELECTION_AREA_SOURCE)
        sums = self.filters_per_lane * self.outputs_per_lane
        if sums > 1:
            bits = self.arithmetic.accumulator_bits
            more = registers_um2(sums - 1, 0, bits, node) + select_um2(sums, bits, node)
            found["lane_sums"] = Area(self.lanes * more / 1e6, SELECTION_AREA_SOURCE)
        return found
