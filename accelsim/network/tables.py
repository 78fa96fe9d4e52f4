"""Networks as tables of layers, without weights: NETWORK.csv, and SCALE-Sim's topologies.

NETWORK.csv has one layer a row and the columns of ``COLUMNS``, and where they are wanted those of
``MORE_COLUMNS``; a column that is none of these is refused.  SCALE-Sim's files: ``scale_sim``.
There layers of one name are told apart as ``NAME (2)``.

Layers need not be connected to one another: a table is a list, unless its column ``inputs`` says
which earlier layers each one reads.
"""

import csv
import io
import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from pathlib import Path

from accelsim.errors import InputError
from accelsim.names import cell, from_cell
from accelsim.network.graph import INPUT
from accelsim.network.scale_sim import GEMM, TOPOLOGY, depthwise, gemm_layer, header_faults, tidied, topology_layer
from accelsim.network.table_layer import KINDS, TableLayer
from accelsim.network.table_rows import COLUMNS, DEFAULTS, MAX_LAYERS, MAX_NAME, MORE_COLUMNS, USUAL, Row, table_rows

MAX_ELEMENTS = 1 << 36  # of an input or an output, a batch together: 64 GB of 8-bit values
SHOWN_FAULTS = 5


def read_table(path: Path) -> tuple[TableLayer, ...]:
    """The layers of a NETWORK.csv or a SCALE-Sim topology, told apart by the header line.

    Raises InputError that names the file and, for each fault, the row (the header is row 1) and the
    column.
    """
    rows = table_rows(path)
    scale_sim = rows[0][1][0].lower().startswith("layer")
    if scale_sim:
        rows = tidied(rows)
    header = [column.lower() for column in rows[0][1]]
    read = _network
    if scale_sim and tuple(header[1:4]) == GEMM[1:]:
        read = gemm_layer
        faults = header_faults(header, GEMM, strides=False)
        header[: len(GEMM)] = GEMM
    elif scale_sim:
        read = topology_layer
        faults = header_faults(header, TOPOLOGY, strides=True)
        header[: len(TOPOLOGY)] = TOPOLOGY
    else:
        faults = _column_faults(header)
    layers: list[TableLayer] = []
    names: set[str] = set()
    known: dict[str, TableLayer] = {}
    for number, cells in rows[1:] if not faults else []:
        row = Row(number, header, cells)
        if scale_sim and not any(cells[1:]):  # a heading above some layers
            continue
        layer = read(row)
        if not row.faults:
            _check(layer, row)
        if len(layer.name) > MAX_NAME:
            row.fault("name", f"{layer.name[:60]!r}... is of {len(layer.name)} characters, expected {MAX_NAME} at most")
        if layer.name in names and not scale_sim:
            row.fault("name", f"{layer.name[:60]!r} is used twice")
        if layer.name == INPUT and read is _network:
            row.fault("name", f"{INPUT!r} is the network's input, expected another name")
        for source in layer.inputs or ():
            if source not in names and source != INPUT:
                row.fault("inputs", f"{source[:60]!r} is no layer above, expected one, or {INPUT!r}")
        if not row.faults:
            sources = [known[name] for name in layer.inputs or () if name in known]
            if fault := fault_of_reads(layer, sources):
                row.fault("inputs", fault)
        faults += row.faults
        if scale_sim and "DP" in layer.name and layer.in_channels > MAX_LAYERS - len(layers):
            raise InputError(f"{path}: row {number}: over {MAX_LAYERS} layers, depthwise ones a channel each")
        for part in depthwise(layer) if scale_sim and "DP" in layer.name else [layer]:
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
        others = [values[c](layer) if c in values else getattr(layer, c) for c in more]
        rows.writerow(
            [
                cell(layer.name),
                layer.kind,
                layer.in_channels,
                layer.out_channels,
                layer.height,
                layer.width,
                *layer.kernel,
                layer.stride,
                layer.padding,
                layer.groups,
                f"{layer.weight_density:g}",
                f"{layer.activation_density:g}",
                *others,
            ]
        )
    return text.getvalue()


def _column_faults(header: list[str]) -> list[str]:
    """What is wrong with the header of a NETWORK.csv."""
    faults = []
    known = (*COLUMNS, *MORE_COLUMNS)
    for column in header:
        if column not in known:
            near = get_close_matches(column[:60], known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f" (expected {', '.join(COLUMNS)})"
            faults.append(f"row 1: column {column[:60]!r} is not known{hint}")
    faults += [f"row 1: column {c!r} is missing" for c in COLUMNS if c not in DEFAULTS and c not in header]
    return faults + [f"row 1: column {c!r} is there twice" for c in known if header.count(c) > 1]


def _network(row: Row) -> TableLayer:
    """The layer of a row of a NETWORK.csv."""
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


def _inputs(row: Row) -> tuple[str, ...] | None:
    """The layers that a row reads; None without that column."""
    names = from_cell(row.cells.get("inputs", ""))
    return tuple(name.strip() for name in names.split(";")) if names else None


def _check(layer: TableLayer, row: Row) -> None:
    """What no single cell can say."""
    padded = [size + 2 * p for size, p in zip((layer.height, layer.width), layer.paddings, strict=True)]
    for column, size, k in zip(("kernel_h", "kernel_w"), padded, layer.reach, strict=True):
        if k > size:
            row.fault(column, f"{k} is larger than the padded image, {size}")
    P, Q = layer.output_size
    inputs = layer.in_channels * padded[0] * padded[1]
    outputs = layer.out_channels * P * Q
    for what, elements in (("input", layer.batch * inputs), ("output", layer.batch * outputs)):
        if elements > MAX_ELEMENTS:
            row.fault("height", f"an {what} of {elements} elements, expected at most {MAX_ELEMENTS}")
    if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
        row.fault("groups", f"{layer.groups} does not divide {layer.in_channels} and {layer.out_channels} channels")
    if layer.kind == "linear" and (layer.height, layer.width, *layer.kernel) != (1, 1, 1, 1):
        row.fault("kind", "a linear layer has height, width and kernel 1 (its inputs are its in_channels)")
    if layer.kind in ("pool", "add") and layer.in_channels != layer.out_channels:
        expected = f"the {layer.in_channels} input channels for {layer.kind}"
        row.fault("out_channels", f"{layer.out_channels}, expected {expected}")
    for column, meaningless in _without_meaning(layer).items():
        if row.cells.get(column) and meaningless:
            row.fault(column, f"{row.cells[column][:40]!r} means nothing for {layer.kind}, expected an empty cell")


def fault_of_reads(layer: TableLayer, sources: Sequence[TableLayer]) -> str:
    """What is wrong with the layers that a row reads, where they do not make what it reads; empty if they do.

    A reshaping between them, which a table has no row for, makes channels of pixels, an enlargement
    more pixels; neither makes more of both.
    """
    if not sources or len(sources) < len(layer.inputs or ()):
        return ""
    each = [source.out_channels for source in sources]
    channels = min(each) if layer.kind == "add" else sum(each)
    made = [source.batch * source.out_channels * prod(source.output_size) for source in sources]
    read = layer.batch * layer.in_channels * layer.height * layer.width
    if layer.in_channels > channels and read > (min(made) if layer.kind == "add" else sum(made)):
        return f"{layer.in_channels} channels are read, these layers make {channels}"
    if layer.kind == "add" and len(sources) == 1:
        return f"{(layer.inputs or ('',))[0][:60]!r} alone, expected two layers or more to add"
    twice = len(set(layer.inputs or ())) < len(sources)
    if twice and layer.kind != "add" and layer.in_channels != channels and read != sum(made):
        return f"a layer named twice is read twice, {channels} channels, expected {layer.in_channels}"
    return ""


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
