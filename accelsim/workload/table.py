"""Tables of layers without weights (``accelsim.network.tables``).

Weights and zeros are drawn from a seed.

Results of them are synthetic, and say so.  A layer's weights are drawn when it is asked for, so
that a large table never lies in memory as a whole.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import overload

import numpy as np

from accelsim import shipped
from accelsim.errors import InputError
from accelsim.files import LAYER_TABLE, read_bytes
from accelsim.network.tables import TableLayer, as_product, read_table
from accelsim.workload.layer import MAX_WEIGHTS, Kind, LayerWork

HELD_WEIGHTS = 150_000_000  # of a table whose layers are made once: 600 MB, enough for VGG-16
DRAWN_AT_ONCE = 1 << 22  # random numbers


def load_table(path: Path, seed: int = 0) -> "LayerTable":
    """The table of layers in a file, its zeros to be drawn from the seed.

    Raises InputError as ``read_table``.
    """
    layers = read_table(path)
    content = read_bytes(path, LAYER_TABLE)
    return LayerTable(path.stem, layers, seed, len(content), hashlib.sha256(content).hexdigest())


def find_table(name: str | Path) -> Path | None:
    """The path of a table: a ``.csv`` as it is, or a bare name in a ``workloads`` folder, as machines are; or None."""
    path = Path(name)
    return path if path.suffix == ".csv" else shipped.find("workloads", name)


@dataclass(frozen=True)
class LayerTable:
    """A network without weights: rows of a table, whose zeros are drawn from a seed.

    Its results are synthetic.

    file_bytes, sha256: of the table's file.
    """

    name: str
    layers: tuple[TableLayer, ...]
    seed: int = 0
    file_bytes: int = 0
    sha256: str = ""

    @property
    def parameters(self) -> int:
        """Weights of all layers."""
        return sum(layer.weights for layer in self.layers)

    @cached_property
    def readers(self) -> dict[str, TableLayer]:
        """The first layer that reads each layer's output, by that one's name: the next row where a row does not say."""
        found: dict[str, TableLayer] = {}
        for before, layer in zip(("", *(layer.name for layer in self.layers)), self.layers, strict=False):
            for source in (before,) if layer.inputs is None else layer.inputs:
                found.setdefault(source, layer)
        return found

    def __repr__(self) -> str:
        """One line: the network and its sizes."""
        layers = f"layers: {len(self.layers)}, {self.parameters:,} weights"
        return f"LayerTable({self.name!r}, {layers}, seed {self.seed})"


@dataclass(frozen=True)
class TableWorks(Sequence[LayerWork]):
    """The layer works of a table, each made when it is asked for, so that one layer's weights are held at a time."""

    table: LayerTable
    batch: int

    def __len__(self) -> int:
        return len(self.table.layers)

    @overload
    def __getitem__(self, index: int) -> LayerWork: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerWork, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerWork | tuple[LayerWork, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        return _table_work(self.table, range(len(self))[index], self.batch)


def made_once(works: Sequence[LayerWork]) -> Sequence[LayerWork]:
    """The layer works, made once for many runs.

    Those of a table of over HELD_WEIGHTS weights anew each time.
    """
    if isinstance(works, TableWorks) and works.table.parameters > HELD_WEIGHTS:
        return works
    return tuple(works)


def without_weights(works: Sequence[LayerWork]) -> Iterable[LayerWork]:
    """The layer works with their shapes alone, where that saves to make the weights."""
    if isinstance(works, TableWorks):
        return (_table_work(works.table, i, works.batch, draw=False) for i in range(len(works)))
    return works


def table_works(table: LayerTable, batch: int) -> TableWorks:
    """What each layer of a table asks, in order.

    Raises InputError if a layer has over MAX_WEIGHTS weights.
    """
    for layer in table.layers:
        if layer.weights > MAX_WEIGHTS:
            raise InputError(
                f"{table.name}: layer {layer.name} has {layer.weights} weights, expected at most {MAX_WEIGHTS}"
            )
    return TableWorks(table, batch)


def works_of_kind(table: LayerTable, kind: Kind, batch: int = 1) -> tuple[LayerWork, ...]:
    """The layer works of one kind.

    The weights of other layers, which may be the most, are not drawn.
    """
    works = table_works(table, batch)
    return tuple(works[i] for i, layer in enumerate(table.layers) if layer.kind == kind)


def _table_work(table: LayerTable, i: int, batch: int, draw: bool = True) -> LayerWork:
    """Layer i of a table, with random weights of its density, unless they are not to be drawn.

    Every layer draws from (seed, i) alone.  In the Winograd domain the layer is taken to be as
    sparse as in the spatial one, as joint training makes it: the largest entries of the transformed
    filters are kept.
    """
    layer = as_product(table.layers[i])
    reader = table.readers.get(layer.name, layer)
    out_height, out_width = layer.output_size
    make = partial(
        LayerWork,
        layer.name,
        layer.kind,
        batch=batch * layer.batch,
        in_channels=layer.in_channels,
        height=layer.height,
        width=layer.width,
        out_channels=layer.out_channels,
        out_height=out_height,
        out_width=out_width,
        kernel=layer.kernel,
        stride=layer.strides,
        padding=layer.paddings,
        dilation=(layer.dilation, layer.dilation),
        groups=layer.groups,
        input_density=np.full(layer.in_channels, layer.activation_density, np.float32),
        output_density=reader.activation_density,
        sources=layer.inputs,
    )
    if layer.kind not in ("conv", "linear"):
        return make(inputs=2 if layer.kind == "add" else 1)
    if not draw:
        return make()
    rng = np.random.default_rng((table.seed, i))
    shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    weights = rng.standard_normal(shape, np.float32)
    parts = min(len(weights), 1 + weights.size // DRAWN_AT_ONCE) if layer.weight_density < 1 else 0
    for filters in np.array_split(weights, parts) if parts else ():
        filters[rng.random(filters.shape, np.float32) >= layer.weight_density] = 0
    winograd = layer.kind == "conv" and layer.strides == (1, 1) and layer.dilation == 1 and min(layer.kernel) >= 2
    return make(
        weights=weights,
        winograd_threshold=0.0 if winograd else None,
        winograd_density=layer.weight_density if winograd else None,
    )
