"""What machines have in common that run a layer as tiles of a matrix product on side-by-side lanes."""

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from accelsim.hardware.decoder import SOURCE as DECODER_SOURCE
from accelsim.hardware.decoder import decoder_mm2, symbol_pj
from accelsim.hardware.description import MASK_FREE, MachineDescription
from accelsim.hardware.parts import Activations, Buffers, Count, KeyGroup, Kilobytes, PeArray, PerCycle
from accelsim.hardware.price import Area, Price

Window = Annotated[int, Field(ge=1, le=1 << 10)]


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

    @property
    def keeps(self) -> Activations:
        """What becomes of maps: nothing stays where weights take of the inputs' room."""
        return "separate" if self.shared else self.activations


class TiledDescription(MachineDescription):
    """Keys of machines that run layers as tiles of a matrix product."""

    pe_array: PeArray
    """Lanes in rows and columns; a column works on one filter."""
    buffers: TiledBuffers
    """Global buffers."""


class SkippingDescription(TiledDescription):
    """Keys of machines whose lanes may skip zeros, so that it matters which filters work side by side."""

    balance: Literal["none", "greedy", "paired"] = "none"
    """Which filters work side by side: as they come, of similar fullness, or a full one with an empty one behind."""
    window: Window = 1
    """Filters (and tap groups) that a lane may run ahead before it waits for the others.  Default: 1."""
    decoder: Decoder | None = None
    """A decoder of the file's own entropy code.  Default: none, weights travel in ``weight_format``."""

    @cached_property
    def mask_settings(self) -> str:
        """All of the description that the counts of a layer's masks depend on; pairs depend on the columns, too."""
        free = MASK_FREE - {"pe_array"} if self.balance == "paired" else MASK_FREE
        return self.model_dump_json(exclude=free)

    @property
    def chunk_size(self) -> int | None:
        """Positions of a bitmask that an inner join takes at once, a cycle at least; None: no such bound."""
        return None

    def own_prices(self) -> dict[str, Price]:
        """The decoder's price of a weight."""
        if self.decoder is None:
            return {}
        pj = symbol_pj(self.arithmetic.table, self.node_nm, self.decoder.table_kb)
        return {"decode_symbol": Price(pj, "pJ/symbol", "transform", DECODER_SOURCE)}

    def own_areas(self) -> dict[str, Area]:
        """The decoder's area."""
        if self.decoder is None:
            return {}
        mm2 = decoder_mm2(self.node_nm, self.decoder.symbols_per_cycle, self.decoder.table_kb)
        return {"decoder": Area(mm2, DECODER_SOURCE)}
