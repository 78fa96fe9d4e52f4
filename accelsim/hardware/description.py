"""The description of one accelerator: what every machine's YAML file says, whatever its family.

Every machine has lanes, global buffers for weights, inputs and outputs, one DMA engine and one
DRAM.  A family (``accelsim.simulator.machines``) adds the keys that mean something there, and may
add actions to the price list and parts to the area.
"""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from accelsim.hardware.datapath import Datapath
from accelsim.hardware.formats import Format
from accelsim.hardware.parts import (
    AreaOverrides,
    Arithmetic,
    Buffers,
    Count,
    Dram,
    EnergyOverrides,
    KeyGroup,
    Post,
)
from accelsim.hardware.price import Area, Price

ZeroHandling = Literal["none", "gate", "skip_weights", "skip_both"]
EnergyTable = Literal["gates", "horowitz", "aladdin"]

# Keys that make no difference to how many bits and multiplies a layer's masks come to.
MASK_FREE = {
    "name",
    "description",
    "clock_mhz",
    "node_nm",
    "pe_array",
    "buffers",
    "dram",
    "energy",
    "energy_table",
    "area",
    "objective",
    "post",
    "vector_lanes",
    "transform_rate",
    "inverse_rate",
    "weight_transform_rate",
    "operand_window",
    "filters_per_lane",
    "outputs_per_lane",
    "inverse",
    "input_transform",
    "tiles",
}


class MachineDescription(KeyGroup, ABC):
    """Keys that every machine has."""

    kind: str
    """Which families may be meant: ``spatial`` or ``winograd``."""
    name: Annotated[str, Field(min_length=1, max_length=100)]
    """What results call the machine.  Default: the name of its file."""
    description: str = ""
    """A few words for people.  Default: none."""
    clock_mhz: Annotated[float, Field(ge=0.01, le=10_000)]
    """Clock of lanes, units and buffers, MHz, 0.01 to 10,000."""
    node_nm: Annotated[int, Field(ge=7, le=65)]
    """Technology node, nm."""
    arithmetic: Arithmetic = Arithmetic()
    """Word widths.  Default: 8-bit integers, 24-bit sums."""
    zero_handling: ZeroHandling
    """What lanes do about zeros: multiply, hold still, or skip those of the weights or of both
    operands."""
    weight_format: Format = "bitmask"
    """How weights are stored, on chip and off (``hardware.formats``).  Default: bitmask."""
    activation_format: Literal["dense", "bitmask", "run_length", "packed_run_length"] = "dense"
    """How activations are stored in DRAM.  Default: dense."""
    vector_lanes: Count = 16
    """Simple lanes for pooling, additions and other layers without weights.  Default: 16."""
    post: Post = Post()
    """What rides on the output path.  Default: bias and activation function alone."""
    buffers: Buffers
    """Global buffers."""
    dram: Dram
    """Off-chip memory."""
    energy_table: EnergyTable = "gates"
    """What logic costs: ``gates``, measured (``hardware.gates``), or published, ``horowitz`` or
    ``aladdin`` (``hardware.technology``).  Floating-point multiplies are published ones in any
    case.  Default: gates."""
    energy: EnergyOverrides = EnergyOverrides()
    """Energies that replace the tables'.  Default: none."""
    area: AreaOverrides = AreaOverrides()
    """Areas that replace the tables'.  Default: none."""
    objective: Literal["cycles", "dram", "energy", "edp"] = "cycles"
    """What the choice of a tiling minimises: cycles, DRAM bytes, energy, or energy x delay.
    Default: cycles."""

    @property
    @abstractmethod
    def lanes(self) -> int:
        """Multipliers of the whole machine."""

    @property
    def published_table(self) -> str:
        """The table of what gates were not measured for.

        Multiplexers, floating-point multiplies.
        """
        return "horowitz" if self.energy_table == "gates" else self.energy_table

    @property
    def streams(self) -> int:
        """Streams of weights, each with a pointer of its own.

        One a lane, unless a family says otherwise.
        """
        return self.lanes

    @property
    def holds_weights(self) -> bool:
        """Whether lanes hold weights, so that streams only fill them."""
        return False

    @property
    def chooses_freely(self) -> bool:
        """Whether lanes that skip zeros find any operand at no cost: a favour that a reader should know of."""
        return False

    @property
    def unit_register_bits(self) -> int:
        """Flip-flops of units beside the lanes."""
        return 0

    def __repr__(self) -> str:
        """One line: name, lanes, memory, clock; every key: ``model_dump()``."""
        sizes = f"{self.lanes:,} lanes, {self.sram_bytes:,} bytes of SRAM, {self.clock_mhz:g} MHz"
        return f"{type(self).__name__}({self.name!r}, {sizes})"

    @property
    def sram_bytes(self) -> int:
        """Capacity of all global buffers."""
        return int(1024 * sum(self.buffers.sizes_kb.values()))

    @property
    def ns_per_cycle(self) -> float:
        """Length of a clock cycle in ns."""
        return 1000.0 / self.clock_mhz

    @property
    def around_lanes_mm2(self) -> float:
        """Area of logic around the lanes that plain lanes have not, for its static power."""
        return 0.0

    @property
    def operand_bits(self) -> int:
        """Bits of the operand that a lane multiplies a weight by."""
        return self.arithmetic.activation_bits

    @property
    def datapath(self) -> Datapath:
        """The arithmetic that the machine computes in.

        Direct convolution, unless a family says otherwise.
        """
        return Datapath(self.name, "spatial", number=self.arithmetic.number, integers=self.arithmetic.integers)

    @cached_property
    def _as_text(self) -> str:
        """All of the description, as one text."""
        return self.model_dump_json()

    def __hash__(self) -> int:
        """Of the whole description, written out once: machines are keys of what was computed for them."""
        return hash(self._as_text)

    @cached_property
    def mask_settings(self) -> str:
        """All of the description but what makes no difference to the counts of a layer's masks, as one text."""
        return self.model_dump_json(exclude=MASK_FREE)

    def own_prices(self) -> dict[str, Price]:
        """Prices of actions that only this family counts, by name."""
        return {}

    def own_areas(self) -> dict[str, Area]:
        """Areas of parts that only this family has, by name."""
        return {}
