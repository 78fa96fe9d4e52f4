"""Tables of layers without weights (``accelsim.network.tables``).

Weights and zeros are drawn from a seed.

Results of them are synthetic, and say so.  A layer's weights are drawn when they are asked for, so
that a large table never lies in memory as a whole; what was counted of them stays in a small part of
their bytes, so that they are seldom asked for twice.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

import numpy as np

from accelsim import shipped
from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.files import LAYER_TABLE, read_bytes
from accelsim.memo import Memo
from accelsim.names import of_file
from accelsim.network.table_layer import TableLayer, as_product
from accelsim.network.tables import read_table
from accelsim.workload.layer import MAX_DRAWN_WEIGHTS, MAX_WEIGHTS, Drawn, Kind, LayerWork

HELD_WEIGHTS = 150_000_000  # of a table whose layers are made once: 600 MB, enough for VGG-16
DRAWN_WEIGHTS = 1 << 25  # of layers of another one, with all that was made of them; or one layer's
COUNTED_WEIGHTS = 1 << 33  # whose counts are kept: an eighth of a byte for each, or less
DRAWN_AT_ONCE = 1 << 22  # random numbers


def load_table(path: Path, seed: int = 0) -> "LayerTable":
    """The table of layers in a file, its zeros to be drawn from the seed.

    Raises InputError as ``read_table``.
    """
    layers = read_table(path)
    content = read_bytes(path, LAYER_TABLE)
    return LayerTable(of_file(path), layers, seed, len(content), hashlib.sha256(content).hexdigest())


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
        """The first layer that reads each layer's output, by that one's name.

        The next row where a row does not say.
        """
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
    """The layer works of a table, whose weights are drawn when they are asked for.

    held: weights that were drawn.  made: layers for a batch of one.  counted: of their weights.
    """

    table: LayerTable
    batch: int
    held: Memo[Array] = field(default_factory=lambda: Memo(DRAWN_WEIGHTS), compare=False, repr=False)
    made: Memo[LayerWork] = field(default_factory=lambda: Memo(DRAWN_WEIGHTS), compare=False, repr=False)
    counted: Memo[Memo[Any]] = field(default_factory=lambda: Memo(COUNTED_WEIGHTS), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.table.layers)

    @overload
    def __getitem__(self, index: int) -> LayerWork: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LayerWork, ...]: ...
    def __getitem__(self, index: int | slice) -> LayerWork | tuple[LayerWork, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        i = range(len(self))[index]
        size = 1 + self.table.layers[i].weights
        work = self.made.get(i, lambda: self._make(i), size)
        return work.in_batch(self.batch * work.batch)

    def _make(self, i: int) -> LayerWork:
        """Layer i, with what was counted of its weights when it was made before."""
        work = _table_work(self.table, i, self.held)
        if work.weights is None:
            return work
        return work.with_counts(self.counted.get(i, lambda: work.counted, work.weights.size))

    @property
    def large(self) -> bool:
        """Whether the table has too many weights to hold them all, or much that was made of them."""
        return self.table.parameters > HELD_WEIGHTS

    def in_batch(self, batch: int) -> "TableWorks":
        """The same layers on so many images.

        What was drawn and counted of their weights is shared.
        """
        return replace(self, batch=batch)


def made_once(works: Sequence[LayerWork]) -> Sequence[LayerWork]:
    """The layer works, made once for many runs, with all weights that are drawn.

    Those of a table of over HELD_WEIGHTS weights are left as they are.
    """
    if not isinstance(works, TableWorks):
        return tuple(works)
    if works.large:
        return works
    return tuple(replace(works, held=Memo(HELD_WEIGHTS), made=Memo(HELD_WEIGHTS)))


def without_weights(works: Sequence[LayerWork]) -> Iterable[LayerWork]:
    """The layer works with their shapes alone, where that saves to make the weights."""
    if isinstance(works, TableWorks):
        return (work.without_weights() for work in works)
    return works


def table_works(table: LayerTable, batch: int) -> TableWorks:
    """What each layer of a table asks, in order.

    Raises InputError if a layer has over MAX_WEIGHTS weights, or over MAX_DRAWN_WEIGHTS of which some are zero.
    """
    for layer in table.layers:
        drawn = layer.weight_density < 1
        most = MAX_DRAWN_WEIGHTS if drawn else MAX_WEIGHTS
        if layer.weights > most:
            raise InputError(
                f"{table.name}: layer {layer.name} has {layer.weights} weights{' with zeros' if drawn else ''}, "
                f"expected at most {most}"
            )
    return TableWorks(table, batch)


def works_of_kind(table: LayerTable, kind: Kind, batch: int = 1) -> tuple[LayerWork, ...]:
    """The layer works of one kind.

    The weights of other layers, which may be the most, are not drawn.
    """
    works = table_works(table, batch)
    return tuple(works[i] for i, layer in enumerate(table.layers) if layer.kind == kind)


def _table_work(table: LayerTable, i: int, held: Memo[Array]) -> LayerWork:
    """Layer i of a table for a batch of one, with random weights of its density.

    held: what was drawn.

    In the Winograd domain the layer is taken to be as sparse as in the spatial one, as joint
    training makes it: the largest entries of the transformed filters are kept.
    """
    layer = as_product(table.layers[i])
    reader = table.readers.get(layer.name, layer)
    out_height, out_width = layer.output_size
    make = partial(
        LayerWork,
        layer.name,
        layer.kind,
        batch=layer.batch,
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
        return make(inputs=max(2, len(layer.inputs or ())) if layer.kind == "add" else 1)
    draw = partial(_draw, table.seed, i, layer)
    winograd = layer.kind == "conv" and layer.strides == (1, 1) and layer.dilation == 1 and min(layer.kernel) >= 2
    return make(
        weights=Drawn(_weights_shape(layer), partial(held.get, i, draw, layer.weights), layer.weight_density == 1),
        winograd_threshold=0.0 if winograd else None,
        winograd_density=layer.weight_density if winograd else None,
    )


def _weights_shape(layer: TableLayer) -> tuple[int, ...]:
    """(K, C / groups, R, S)."""
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)


def _draw(seed: int, i: int, layer: TableLayer) -> Array:
    """Random weights of layer i, by its density; every layer draws from (seed, i) alone."""
    rng = np.random.default_rng((seed, i))
    weights = rng.standard_normal(_weights_shape(layer), np.float32)
    parts = min(len(weights), 1 + weights.size // DRAWN_AT_ONCE) if layer.weight_density < 1 else 0
    for filters in np.array_split(weights, parts) if parts else ():
        filters[rng.random(filters.shape, np.float32) >= layer.weight_density] = 0
    return weights
