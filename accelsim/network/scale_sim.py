"""Topology files of SCALE-Sim, row by row.

A header line and either ``Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width,
Channels, Num Filter, Strides`` or ``Layer, M, N, K`` (an M x K times K x N matrix product), read by
position, and behind them by name: a second stride (down, then across), a sparsity ``N:M`` (N of M
weights kept), a batch size.  Its images carry their padding already, so padding is 0.  As in
SCALE-Sim a row with ``DP`` in its name is depthwise: it becomes a layer of one channel for each of
its channels.  Where the header names one of the first columns twice, the one at the wrong place is
taken for a slip, as SCALE-Sim goes by the place alone.  A row of a name alone is a heading.

SCALE-Sim reads nothing behind a row's last comma, and of the header nothing at all: a remark there
(``#dw``), a word in a column of another name than those (``NPU`` under ``Target``), a stride across
that is the one down once more, and a column without cells are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt

from accelsim.network.table_layer import TableLayer
from accelsim.network.table_rows import MAX_SIZE, Row

MAX_DIGITS = 9  # of either number of a sparsity N:M
TOPOLOGY = (
    "layer",
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "stride",
)
GEMM = ("layer", "m", "n", "k")
EXTRA = ("sparsity", "batch")  # beginnings of what SCALE-Sim's variants have behind these


def depthwise(layer: TableLayer) -> list[TableLayer]:
    """SCALE-Sim's reading of a depthwise row.

    Each input channel is a layer by itself, with all of the row's filters.
    """
    return [
        replace(layer, name=f"{layer.name}Channel_{channel}", in_channels=1) for channel in range(layer.in_channels)
    ]


def tidied(rows: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Row numbers and cells, the header first, less remarks at a row's end and columns without cells."""
    (number, header), *others = rows
    expected = len(GEMM if tuple(name.lower() for name in header[1:4]) == GEMM[1:] else TOPOLOGY)
    tidy = [(place, _without_word(_without_remark(cells, len(header)), header, expected)) for place, cells in others]
    widest = max((len(cells) for _, cells in tidy), default=len(header))
    return [(number, header[: max(expected, widest)]), *tidy]


def _without_remark(cells: list[str], columns: int) -> list[str]:
    """A row's cells, less what SCALE-Sim does not read.  columns: of the header."""
    if len(cells) != columns + 1:
        return cells
    stride, last = cells[-2:]
    return cells[:-1] if last.startswith("#") or (columns == len(TOPOLOGY) and last == stride) else cells


def _without_word(cells: list[str], header: list[str], expected: int) -> list[str]:
    """A row's cells, less a word behind the expected ones whose column is not one of ``EXTRA``."""
    if len(cells) <= expected or not cells[-1].isalpha():
        return cells
    column = "".join(header[len(cells) - 1 : len(cells)]).lower()
    return cells if column.startswith((*EXTRA, "stride")) else cells[:-1]


def header_faults(header: list[str], expected: tuple[str, ...], strides: bool) -> list[str]:
    """What is wrong with a header: SCALE-Sim reads by position, and would read another one wrongly.

    strides: whether it has them.
    """
    faults = [
        f"row 1: column {position + 1} is {column[:60]!r}, expected {name!r}"
        for position, (column, name) in enumerate(zip(header, expected, strict=False))
        if not column.startswith(name.removesuffix("s")) and not _slip(header, expected, column)
    ]
    if len(header) == 1 and "\t" in header[0]:
        return ["row 1: tabs between the names, expected commas"]
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
    unknown = list(dict.fromkeys(column[:60] for column, start in zip(behind, found, strict=True) if not start))
    if unknown:
        names = f"column {unknown[0]!r} is" if len(unknown) == 1 else f"columns {str(unknown[:5])[1:-1]} are"
        faults.append(f"row 1: {names} not known behind {expected[-1]!r} (expected {what})")
    twice = [start for start in EXTRA if found.count(start) > 1]
    return faults + [f"row 1: column {column!r} is there twice" for column in twice]


def _slip(header: list[str], expected: tuple[str, ...], column: str) -> bool:
    """Whether a column at a wrong place only repeats the name of one that is at its own."""
    own = next((place for place, name in enumerate(expected) if column.startswith(name)), None)
    return own is not None and own < len(header) and header[own].startswith(expected[own])


def topology_layer(row: Row) -> TableLayer:
    """The layer of a row of sizes."""
    name, height, width, kernel_h, kernel_w, channels, filters, stride = row.header[:8]
    if not row.cells.get(stride):  # which has a default in tables of ours
        row.fault(stride, "empty")
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


def gemm_layer(row: Row) -> TableLayer:
    """The layer of a row ``Layer, M, N, K``: M positions, N filters, K channels."""
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
    """A number of positions as height and width.

    Itself and 1, or where it is too large the two nearest divisors.
    """
    if number <= MAX_SIZE:
        return number, 1
    width = next(divisor for divisor in range(isqrt(number), 0, -1) if number % divisor == 0)
    return number // width, width


def _kept(row: Row) -> float:
    """SCALE-Sim 3's sparsity N:M as a density; 1 without that column."""
    column = row.column("sparsity")
    value = row.cells.get(column, "") or "1:1"
    present, _, whole = value.partition(":")
    digits = all(part.isascii() and part.isdigit() and len(part) <= MAX_DIGITS for part in (present, whole))
    if not (digits and 0 < int(present) <= int(whole)):
        row.fault(column, f"{value[:40]!r}, expected N:M with N of 1 to M")
        return 1.0
    return int(present) / int(whole)


def _batch(row: Row) -> int:
    """The batch size of a variant of SCALE-Sim; 1 without that column."""
    column = row.column("batch")
    return row.integer(column) if row.cells.get(column) else 1
