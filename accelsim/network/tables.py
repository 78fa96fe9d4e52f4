"""Networks as tables of layers, without weights: NETWORK.csv, and the topology files of SCALE-Sim.

NETWORK.csv has one layer a row and the columns of ``COLUMNS``, and where they are wanted those of ``MORE_COLUMNS``.
A SCALE-Sim topology has a header line and either ``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width,
Channels, Num Filter, Strides`` or ``Layer, M, N, K`` (an M x K times K x N matrix product), read by position, and
behind them by name: a second stride (down, then across), a sparsity ``N:M`` (N of M weights kept), a batch size.  Its
images carry their padding already, so padding is 0.  As in SCALE-Sim a row with ``DP`` in its name is depthwise: it
becomes a layer of one channel for each of its channels.  Layers of one name are told apart as ``NAME (2)``.

A column that is none of these is refused; where the header names one of the first columns twice, the one at the wrong
place is taken for a slip, as SCALE-Sim goes by the place alone.  A kernel of ``MANY_TAPS`` or more that spans all rows
or all columns of its image is the matrix product that SCALE-Sim's users write that way: its taps become channels, so
that machines can cut it.  Layers need not be connected to one another: a table is a list, unless its column ``inputs``
says which earlier layers each one reads.
"""

import csv
import io
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isqrt, prod
from pathlib import Path
from typing import Literal, get_args

from accelsim.csv_rows import csv_rows
from accelsim.errors import InputError
from accelsim.files import LAYER_TABLE, read_text
from accelsim.names import cell, from_cell
from accelsim.network.graph import INPUT
from accelsim.settings import PLAIN_NUMBER

Kind = Literal["conv", "linear", "pool", "add", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = (
    *("name", "kind", "in_channels", "out_channels", "height", "width", "kernel_h", "kernel_w"),
    *("stride", "padding", "groups", "weight_density", "activation_density"),
)
# Stride and padding across, where they are others than down; steps between a kernel's taps; images that go in together;
# earlier layers, or ``input``, that are read, with semicolons between them.
MORE_COLUMNS = ("stride_w", "padding_w", "dilation", "batch", "inputs")
USUAL = (None, None, 1, 1, None)  # what they are where the column is not there
DEFAULTS = {"stride": "1", "padding": "0", "groups": "1", "weight_density": "1", "activation_density": "1"}
DEFAULTS |= {"stride_w": "", "padding_w": "", "dilation": "1", "batch": "1", "inputs": ""}
MAX_LAYERS, MAX_SIZE, SHOWN_FAULTS = 10_000, 1 << 20, 5
MAX_ELEMENTS = 1 << 36  # of an input or an output, a batch together: 64 GB of 8-bit values
MANY_TAPS = 1 << 12
MAX_DIGITS = 9  # of either number of a sparsity N:M

TOPOLOGY = ("layer", "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter", "stride")
GEMM = ("layer", "m", "n", "k")
EXTRA = ("sparsity", "batch")  # beginnings of what SCALE-Sim's variants have behind these


@dataclass(frozen=True)
class TableLayer:
    """One row: a layer's shape, and the share of its weights and of its inputs that are not zero.

    kind: conv, linear, pool, add or other.  height H, width W of the input without padding; a linear layer has
    H = W = 1.  kernel (R, S); padding and stride are the same in both directions, unless padding_w and stride_w are
    others across.  batch: images in one go, times those of the run.  inputs: names of the layers, or ``input``, whose
    outputs it reads, one behind the other or added up; None where the table does not say.
    """

    name: str
    kind: Kind
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int = 0
    groups: int = 1
    weight_density: float = 1.0
    activation_density: float = 1.0
    stride_w: int | None = None
    padding_w: int | None = None
    dilation: int = 1
    batch: int = 1
    inputs: tuple[str, ...] | None = None

    @property
    def weights(self) -> int:
        """How many weights there are: 0 of a layer that has none."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.out_channels * self.in_channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def strides(self) -> tuple[int, int]:
        """Down and across."""
        return self.stride, self.stride if self.stride_w is None else self.stride_w

    @property
    def paddings(self) -> tuple[int, int]:
        """Down and across."""
        return self.padding, self.padding if self.padding_w is None else self.padding_w

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that the kernel's taps span."""
        return (self.kernel[0] - 1) * self.dilation + 1, (self.kernel[1] - 1) * self.dilation + 1

    @property
    def output_size(self) -> tuple[int, int]:
        """Height P and width Q of the output, rounded down."""
        sizes = zip((self.height, self.width), self.paddings, self.reach, self.strides, strict=True)
        P, Q = ((size + 2 * padding - span) // stride + 1 for size, padding, span, stride in sizes)
        return P, Q


def as_product(layer: TableLayer) -> TableLayer:
    """A convolution whose large kernel spans its image one way, and is 1 or spans it the other way, as 1 x 1.

    The values of a row, a column or the whole image become channels; any other layer stays as it is.
    """
    (R, S), (H, W) = layer.kernel, (layer.height, layer.width)
    plain = layer.kind == "conv" and layer.paddings == (0, 0) and layer.groups == 1 and layer.dilation == 1
    if not plain or R * S < MANY_TAPS:
        return layer
    if (R, S) == (H, W):
        whole = replace(layer, height=1, width=1, kernel=(1, 1), stride=1, stride_w=None)
        return replace(whole, in_channels=layer.in_channels * R * S)
    if (R, S) == (1, W):
        return replace(layer, width=1, kernel=(1, 1), stride_w=None, in_channels=layer.in_channels * S)
    if (R, S) == (H, 1):
        turned = replace(layer, height=W, width=1, kernel=(1, 1), stride=layer.strides[1], stride_w=None)
        return replace(turned, in_channels=layer.in_channels * R)
    return layer


def read_table(path: Path) -> tuple[TableLayer, ...]:
    """The layers of a NETWORK.csv or a SCALE-Sim topology, told apart by the header line.

    Raises InputError that names the file and, for each fault, the row (the header is row 1) and the column.
    """
    rows = _rows(path)
    header = [column.lower() for column in rows[0][1]]
    scale_sim = bool(header) and header[0].startswith("layer")
    if scale_sim and tuple(header[1:4]) == GEMM[1:]:
        read, faults = _gemm, _header_faults(header, GEMM, strides=False)
        header[: len(GEMM)] = GEMM
    elif scale_sim:
        read, faults = _topology, _header_faults(header, TOPOLOGY, strides=True)
        header[: len(TOPOLOGY)] = TOPOLOGY
    else:
        read, faults = _network, _column_faults(header)
    layers: list[TableLayer] = []
    names: set[str] = set()
    known: dict[str, TableLayer] = {}
    for number, cells in rows[1:] if not faults else []:
        row = _Row(number, header, cells)
        layer = read(row)
        if not row.faults:
            _check(layer, row)
        if layer.name in names and not scale_sim:
            row.fault("name", f"{layer.name[:60]!r} is used twice")
        if layer.name == INPUT and read is _network:
            row.fault("name", f"{INPUT!r} is the network's input, expected another name")
        for source in layer.inputs or ():
            if source not in names and source != INPUT:
                row.fault("inputs", f"{source[:60]!r} is no layer above, expected one, or {INPUT!r}")
        if not row.faults:
            _check_reads(layer, [known[name] for name in layer.inputs or () if name in known], row)
        faults += row.faults
        if scale_sim and "DP" in layer.name and layer.in_channels > MAX_LAYERS - len(layers):
            raise InputError(f"{path}: row {number}: over {MAX_LAYERS} layers, depthwise ones a channel each")
        for part in _depthwise(layer) if scale_sim and "DP" in layer.name else [layer]:
            layers.append(replace(part, name=_free_name(part.name, names)))
            names.add(layers[-1].name)
            known[layers[-1].name] = layers[-1]
        if len(layers) > MAX_LAYERS:
            raise InputError(f"{path}: row {number}: over {MAX_LAYERS} layers, depthwise ones a channel each")
    if not faults and not layers:
        faults = ["no layers, expected at least one row below the header"]
    if faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InputError(f"{path}: {'; '.join(faults[:SHOWN_FAULTS])}{more}")
    return tuple(layers)


def _depthwise(layer: TableLayer) -> list[TableLayer]:
    """SCALE-Sim's reading of a depthwise row: each input channel by itself, with all of the row's filters."""
    return [
        replace(layer, name=f"{layer.name}Channel_{channel}", in_channels=1) for channel in range(layer.in_channels)
    ]


def _free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of ``NAME (2)``, ``NAME (3)`` ... that no layer has yet."""
    if name not in taken:
        return name
    return next(free for number in itertools.count(2) if (free := f"{name} ({number})") not in taken)


def table_text(layers: Sequence[TableLayer]) -> str:
    """The layers as the text of a NETWORK.csv."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    more = [
        column
        for column, usual in zip(MORE_COLUMNS, USUAL, strict=True)
        if any(getattr(layer, column) != usual for layer in layers)
    ]
    values = {"inputs": lambda layer: cell(";".join(layer.inputs or ()))}
    rows.writerow([*COLUMNS, *more])
    for layer in layers:
        rows.writerow(
            [
                cell(layer.name),
                layer.kind,
                layer.in_channels,
                layer.out_channels,
                layer.height,
                layer.width,
                *layer.kernel,
            ]
            + [layer.stride, layer.padding, layer.groups]
            + [f"{density:g}" for density in (layer.weight_density, layer.activation_density)]
            + [values[column](layer) if column in values else getattr(layer, column) for column in more]
        )
    return text.getvalue()


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Row numbers and stripped cells of all rows that are not blank, trailing commas dropped."""
    content = read_text(path, LAYER_TABLE)
    rows = [(number, [text.strip() for text in row]) for number, row in csv_rows(path, content)]
    for _, cells in rows:
        while cells and not cells[-1]:
            cells.pop()
    rows = [(number, cells) for number, cells in rows if cells]
    if not rows:
        raise InputError(f"{path}: empty, expected a header line and one layer a row")
    if len(rows) > MAX_LAYERS + 1:
        raise InputError(f"{path}: {len(rows) - 1} layers, expected at most {MAX_LAYERS}")
    return rows


def _column_faults(header: list[str]) -> list[str]:
    faults = []
    known = (*COLUMNS, *MORE_COLUMNS)
    for column in header:
        if column not in known:
            near = get_close_matches(column[:60], known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f" (expected {', '.join(COLUMNS)})"
            faults.append(f"row 1: column {column[:60]!r} is not known{hint}")
    faults += [f"row 1: column {c!r} is missing" for c in COLUMNS if c not in DEFAULTS and c not in header]
    return faults + [f"row 1: column {c!r} is there twice" for c in known if header.count(c) > 1]


def _header_faults(header: list[str], expected: tuple[str, ...], strides: bool) -> list[str]:
    """SCALE-Sim reads by position; a header of another meaning would be read wrongly.  strides: whether it has them."""
    faults = [
        f"row 1: column {position + 1} is {column[:60]!r}, expected {name!r}"
        for position, (column, name) in enumerate(zip(header, expected, strict=False))
        if not column.startswith(name.removesuffix("s")) and not _slip(header, expected, column)
    ]
    if len(header) < len(expected):
        faults.append(f"row 1: {len(header)} columns, expected {', '.join(expected)}")
    behind = header[len(expected) :]
    if strides and header[len(expected) - 1 :][:1] == ["stride width"]:
        faults.append(
            f"row 1: column {len(expected)} is 'stride width', expected the stride down before the one across"
        )
    if strides and behind and behind[0] == header[len(expected) - 1]:
        faults.append(f"row 1: column {behind[0]!r} is there twice")
    if strides and behind and behind[0].startswith("stride"):
        behind = behind[1:]
    found = [next((start for start in EXTRA if column.startswith(start)), "") for column in behind]
    what = ", ".join((*(["a second stride"] if strides else []), *EXTRA))
    faults += [
        f"row 1: column {column[:60]!r} is not known behind {expected[-1]!r} (expected {what})"
        for column, start in zip(behind, found, strict=True)
        if not start
    ]
    twice = [start for start in EXTRA if found.count(start) > 1]
    twice += [column[:60] for column in dict.fromkeys(behind) if behind.count(column) > 1]
    return faults + [f"row 1: column {column!r} is there twice" for column in dict.fromkeys(twice)]


def _slip(header: list[str], expected: tuple[str, ...], column: str) -> bool:
    """Whether a column at a wrong place only repeats the name of one that is at its own."""
    own = next((place for place, name in enumerate(expected) if column.startswith(name)), None)
    return own is not None and own < len(header) and header[own].startswith(expected[own])


class _Row:
    """One row's cells by column, and what is wrong with them."""

    def __init__(self, number: int, header: list[str], cells: list[str]) -> None:
        self.number, self.header, self.faults = number, header, list[str]()
        self.cells = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            self.faults.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")

    def column(self, start: str) -> str:
        """The name of the column that begins so, or the beginning where there is none."""
        return next((name for name in self.header if name.startswith(start)), start)

    def fault(self, column: str, message: str) -> None:
        self.faults.append(f"row {self.number}, column {column!r}: {message}")

    def text(self, column: str) -> str:
        """The cell, or its column's default."""
        value = self.cells.get(column, "") or DEFAULTS.get(column, "")
        if not value:
            self.fault(column, "empty")
        return value

    def integer(self, column: str, least: int = 1, most: int = MAX_SIZE) -> int:
        """The cell as a whole number of least..most; ``least`` where it is none."""
        value = self.text(column)
        if value and not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= most):
            self.fault(column, f"{value[:40]!r}, expected a whole number of {least} to {most}")
            return least
        return int(value) if value else least

    def share(self, column: str) -> float:
        """The cell as a number of 0..1."""
        value = self.text(column)
        number = float(value) if PLAIN_NUMBER.fullmatch(value) else -1.0
        if not 0 <= number <= 1:
            self.fault(column, f"{value[:40]!r}, expected a number of 0 to 1")
            return 1.0
        return number


def _network(row: _Row) -> TableLayer:
    kind = row.text("kind")
    if kind and kind not in KINDS:
        row.fault("kind", f"{kind[:40]!r}, expected one of {', '.join(KINDS)}")
    return TableLayer(
        name=from_cell(row.text("name")),
        kind=next((known for known in KINDS if known == kind), "other"),
        in_channels=row.integer("in_channels"),
        out_channels=row.integer("out_channels"),
        height=row.integer("height"),
        width=row.integer("width"),
        kernel=(row.integer("kernel_h"), row.integer("kernel_w")),
        stride=row.integer("stride"),
        padding=row.integer("padding", least=0),
        groups=row.integer("groups"),
        weight_density=row.share("weight_density"),
        activation_density=row.share("activation_density"),
        stride_w=row.integer("stride_w") if row.cells.get("stride_w") else None,
        padding_w=row.integer("padding_w", least=0) if row.cells.get("padding_w") else None,
        dilation=row.integer("dilation"),
        batch=row.integer("batch"),
        inputs=_inputs(row),
    )


def _inputs(row: _Row) -> tuple[str, ...] | None:
    """The layers that a row reads; None without that column."""
    names = from_cell(row.cells.get("inputs", ""))
    return tuple(name.strip() for name in names.split(";")) if names else None


def _topology(row: _Row) -> TableLayer:
    name, height, width, kernel_h, kernel_w, channels, filters, stride = row.header[:8]
    across = next(iter(row.header[8:9]), "")
    return TableLayer(
        name=row.text(name),
        kind="conv",
        in_channels=row.integer(channels),
        out_channels=row.integer(filters),
        height=row.integer(height),
        width=row.integer(width),
        kernel=(row.integer(kernel_h), row.integer(kernel_w)),
        stride=row.integer(stride),
        weight_density=_kept(row),
        stride_w=row.integer(across) if across.startswith("stride") else None,
        batch=_batch(row),
    )


def _gemm(row: _Row) -> TableLayer:
    name, M, N, K = row.header[:4]
    height, width = _two_sizes(row.integer(M, most=MAX_SIZE**2))
    if max(height, width) > MAX_SIZE:
        row.fault(M, f"{height * width} is no product of two numbers of at most {MAX_SIZE}")
        height = width = 1
    return TableLayer(
        name=row.text(name),
        kind="conv",
        in_channels=row.integer(K),
        out_channels=row.integer(N),
        height=height,
        width=width,
        weight_density=_kept(row),
        batch=_batch(row),
    )


def _two_sizes(number: int) -> tuple[int, int]:
    """A number of positions as height and width: itself and 1, or where it is too large the two nearest divisors."""
    if number <= MAX_SIZE:
        return number, 1
    width = next(divisor for divisor in range(isqrt(number), 0, -1) if number % divisor == 0)
    return number // width, width


def _kept(row: _Row) -> float:
    """SCALE-Sim 3's sparsity N:M as a density; 1 without that column."""
    column = row.column("sparsity")
    value = row.cells.get(column, "") or "1:1"
    present, _, whole = value.partition(":")
    digits = all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in (present, whole))
    if not (digits and 0 < int(present) <= int(whole)):
        row.fault(column, f"{value[:40]!r}, expected N:M with N of 1 to M")
        return 1.0
    return int(present) / int(whole)


def _batch(row: _Row) -> int:
    """The batch size of a variant of SCALE-Sim; 1 without that column."""
    column = row.column("batch")
    return row.integer(column) if row.cells.get(column) else 1


def _check(layer: TableLayer, row: _Row) -> None:
    """What no single cell can say."""
    padded = [size + 2 * p for size, p in zip((layer.height, layer.width), layer.paddings, strict=True)]
    for column, size, k in zip(("kernel_h", "kernel_w"), padded, layer.reach, strict=True):
        if k > size:
            row.fault(column, f"{k} is larger than the padded image, {size}")
    P, Q = layer.output_size
    inputs, outputs = layer.in_channels * padded[0] * padded[1], layer.out_channels * P * Q
    for what, elements in (("input", layer.batch * inputs), ("output", layer.batch * outputs)):
        if elements > MAX_ELEMENTS:
            row.fault("height", f"an {what} of {elements} elements, expected at most {MAX_ELEMENTS}")
    if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
        row.fault("groups", f"{layer.groups} does not divide {layer.in_channels} and {layer.out_channels} channels")
    if layer.kind == "linear" and (layer.height, layer.width, *layer.kernel) != (1, 1, 1, 1):
        row.fault("kind", "a linear layer has height, width and kernel 1 (its inputs are its in_channels)")
    if layer.kind in ("pool", "add") and layer.in_channels != layer.out_channels:
        row.fault(
            "out_channels", f"{layer.out_channels}, expected the {layer.in_channels} input channels for {layer.kind}"
        )
    for column, meaningless in _without_meaning(layer).items():
        if row.cells.get(column) and meaningless:
            row.fault(column, f"{row.cells[column][:40]!r} means nothing for {layer.kind}, expected an empty cell")


def _check_reads(layer: TableLayer, sources: Sequence[TableLayer], row: _Row) -> None:
    """That the layers which a row reads make what it reads.

    A reshaping between them, which a table has no row for, makes channels of pixels, an enlargement more pixels;
    neither makes more of both.
    """
    if not sources or len(sources) < len(layer.inputs or ()):
        return
    each = [source.out_channels for source in sources]
    channels = min(each) if layer.kind == "add" else sum(each)
    made = [source.batch * source.out_channels * prod(source.output_size) for source in sources]
    read = layer.batch * layer.in_channels * layer.height * layer.width
    if layer.in_channels > channels and read > (min(made) if layer.kind == "add" else sum(made)):
        row.fault("inputs", f"{layer.in_channels} channels are read, these layers make {channels}")


def _without_meaning(layer: TableLayer) -> dict[str, bool]:
    """Columns that a layer of its kind does not have, and whether its cell says more than their default."""
    if layer.kind == "conv":
        return {}
    if layer.kind == "linear":
        return _of_windows(layer)
    columns = {"weight_density": layer.weight_density != 1, "groups": layer.groups != 1}
    if layer.kind == "add":
        columns |= {"kernel_h": layer.kernel[0] != 1, "kernel_w": layer.kernel[1] != 1}
        columns |= _of_windows(layer)
    return columns


def _of_windows(layer: TableLayer) -> dict[str, bool]:
    """Columns that say how windows lie, and whether they say more than their default."""
    return {
        "stride": layer.stride != 1,
        "stride_w": layer.strides[1] != 1,
        "padding": layer.padding != 0,
        "padding_w": layer.paddings[1] != 0,
        "dilation": layer.dilation != 1,
    }
