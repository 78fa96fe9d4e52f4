"""Networks as tables of layers, without weights: NETWORK.csv, and the topology files of SCALE-Sim.

NETWORK.csv has one layer a row and the columns of ``COLUMNS``.  A SCALE-Sim topology has a header line and either
``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides`` (its images carry
their padding already, so padding is 0; version 3 adds a sparsity ``N:M``, N of M weights kept) or ``Layer, M, N, K``
(an M x K times K x N matrix product).  Layers' names need not be connected to one another: a table is a list.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from accelsim.errors import InputError

Kind = Literal["conv", "linear", "pool", "add", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS = (
    *("name", "kind", "in_channels", "out_channels", "height", "width", "kernel_h", "kernel_w"),
    *("stride", "padding", "groups", "weight_density", "activation_density"),
)
DEFAULTS = {"stride": "1", "padding": "0", "groups": "1", "weight_density": "1", "activation_density": "1"}
MAX_FILE_BYTES, MAX_LAYERS, MAX_SIZE, SHOWN_FAULTS = 4 << 20, 10_000, 1 << 20, 5

TOPOLOGY = ("layer", "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter", "stride")
GEMM = ("layer", "m", "n", "k")


@dataclass(frozen=True)
class TableLayer:
    """One row: a layer's shape, and the share of its weights and of its inputs that are not zero.

    kind: conv, linear, pool, add or other.  height H, width W of the input without padding; a linear layer has
    H = W = 1.  kernel (R, S); stride and padding are the same in both directions.
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

    @property
    def output_size(self) -> tuple[int, int]:
        """Height P and width Q of the output, rounded down."""
        P, Q = (
            (size + 2 * self.padding - k) // self.stride + 1
            for size, k in zip((self.height, self.width), self.kernel, strict=True)
        )
        return P, Q


def read_table(path: Path) -> tuple[TableLayer, ...]:
    """The layers of a NETWORK.csv or a SCALE-Sim topology, told apart by the header line.

    Raises InputError that names the file and, for each fault, the row (the header is row 1) and the column.
    """
    rows = _rows(path)
    header = [cell.lower() for cell in rows[0][1]]
    scale_sim = bool(header) and header[0].startswith("layer")
    if scale_sim and tuple(header[1:4]) == GEMM[1:]:
        read, faults = _gemm, _header_faults(header, len(GEMM), GEMM)
    elif scale_sim:
        read, faults = _topology, _header_faults(header, len(TOPOLOGY), TOPOLOGY)
    else:
        read, faults = _network, _column_faults(header)
    layers: list[TableLayer] = []
    names: set[str] = set()
    for number, cells in rows[1:] if not faults else []:
        row = _Row(number, header, cells)
        layer = read(row)
        if not row.faults:
            _check(layer, row)
        if layer.name in names:
            row.fault("name", f"{layer.name!r} is used twice")
        names.add(layer.name)
        layers.append(layer)
        faults += row.faults
    if not faults and not layers:
        faults = ["no layers, expected at least one row below the header"]
    if faults:
        more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
        raise InputError(f"{path}: {'; '.join(faults[:SHOWN_FAULTS])}{more}")
    return tuple(layers)


def table_text(layers: Iterable[TableLayer]) -> str:
    """The layers as the text of a NETWORK.csv."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for layer in layers:
        rows.writerow(
            [layer.name, layer.kind, layer.in_channels, layer.out_channels, layer.height, layer.width, *layer.kernel]
            + [layer.stride, layer.padding, layer.groups]
            + [f"{density:g}" for density in (layer.weight_density, layer.activation_density)]
        )
    return text.getvalue()


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Row numbers and stripped cells of all rows that are not blank, trailing commas dropped."""
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size} bytes, expected a table of at most {MAX_FILE_BYTES}")
        text = path.read_text(encoding="utf-8-sig")
        rows = [
            (number, [cell.strip() for cell in row])
            for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), start=1)
        ]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a table of layers") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file ({error})") from None
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
    for cell in header:
        if cell not in COLUMNS:
            near = get_close_matches(cell, COLUMNS, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f" (expected {', '.join(COLUMNS)})"
            faults.append(f"row 1: column {cell[:60]!r} is not known{hint}")
    faults += [f"row 1: column {c!r} is missing" for c in COLUMNS if c not in DEFAULTS and c not in header]
    return faults + [f"row 1: column {c!r} is there twice" for c in COLUMNS if header.count(c) > 1]


def _header_faults(header: list[str], columns: int, expected: tuple[str, ...]) -> list[str]:
    """SCALE-Sim reads by position; a header of another meaning would be read wrongly."""
    faults = [
        f"row 1: column {position + 1} is {cell[:60]!r}, expected {name!r}"
        for position, (cell, name) in enumerate(zip(header, expected, strict=False))
        if not cell.startswith(name)
    ]
    if len(header) < columns:
        faults.append(f"row 1: {len(header)} columns, expected {', '.join(expected)}")
    return faults


class _Row:
    """One row's cells by column, and what is wrong with them."""

    def __init__(self, number: int, header: list[str], cells: list[str]) -> None:
        self.number, self.header, self.faults = number, header, list[str]()
        self.cells = dict(zip(header, cells, strict=False))
        if len(cells) > len(header):
            self.faults.append(f"row {number}: {len(cells)} cells, the header has {len(header)}")

    def fault(self, column: str, message: str) -> None:
        self.faults.append(f"row {self.number}, column {column!r}: {message}")

    def text(self, column: str) -> str:
        """The cell, or its column's default."""
        value = self.cells.get(column, "") or DEFAULTS.get(column, "")
        if not value:
            self.fault(column, "empty")
        return value

    def integer(self, column: str, least: int = 1) -> int:
        """The cell as a whole number of least..MAX_SIZE; ``least`` where it is none."""
        value = self.text(column)
        if value and not (value.isascii() and value.isdigit() and len(value) < 20 and least <= int(value) <= MAX_SIZE):
            self.fault(column, f"{value[:40]!r}, expected a whole number of {least} to {MAX_SIZE}")
            return least
        return int(value) if value else least

    def share(self, column: str) -> float:
        """The cell as a number of 0..1."""
        value = self.text(column)
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1:
            self.fault(column, f"{value[:40]!r}, expected a number of 0 to 1")
            return 1.0
        return number


def _network(row: _Row) -> TableLayer:
    kind = row.text("kind")
    if kind and kind not in KINDS:
        row.fault("kind", f"{kind[:40]!r}, expected one of {', '.join(KINDS)}")
    return TableLayer(
        name=row.text("name"),
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
    )


def _topology(row: _Row) -> TableLayer:
    name, height, width, kernel_h, kernel_w, channels, filters, stride = row.header[:8]
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
    )


def _gemm(row: _Row) -> TableLayer:
    name, M, N, K = row.header[:4]
    return TableLayer(
        name=row.text(name),
        kind="conv",
        in_channels=row.integer(K),
        out_channels=row.integer(N),
        height=row.integer(M),
        width=1,
        weight_density=_kept(row),
    )


def _kept(row: _Row) -> float:
    """SCALE-Sim 3's sparsity N:M as a density; 1 without that column."""
    value = row.cells.get("sparsity", "") or "1:1"
    kept, _, of = value.partition(":")
    if not (kept.isascii() and kept.isdigit() and of.isascii() and of.isdigit() and 0 < int(kept) <= int(of)):
        row.fault("sparsity", f"{value[:40]!r}, expected N:M with N of 1 to M")
        return 1.0
    return int(kept) / int(of)


def _check(layer: TableLayer, row: _Row) -> None:
    """What no single cell can say."""
    padded = [size + 2 * layer.padding for size in (layer.height, layer.width)]
    for column, size, k in zip(("kernel_h", "kernel_w"), padded, layer.kernel, strict=True):
        if k > size:
            row.fault(column, f"{k} is larger than the padded image, {size}")
    if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
        row.fault("groups", f"{layer.groups} does not divide {layer.in_channels} and {layer.out_channels} channels")
    if layer.kind == "linear" and (layer.height, layer.width, *layer.kernel) != (1, 1, 1, 1):
        row.fault("kind", "a linear layer has height, width and kernel 1 (its inputs are its in_channels)")
    if layer.kind in ("pool", "add") and layer.in_channels != layer.out_channels:
        row.fault(
            "out_channels", f"{layer.out_channels}, expected the {layer.in_channels} input channels for {layer.kind}"
        )
