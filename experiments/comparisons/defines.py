"""Depth-first stacks beside DeFiNES (Mei et al., HPCA 2023), on its first case study: DRAM bytes of FSRCNN.

DeFiNES counts, of a network whose maps fit nowhere, every map written and read between layers; depth-first with all
overlaps kept ("fully cached"), weights, the network's input and its output, once each.  Both are sums over the shapes
of its workload (8 layers without padding, 8-bit words, 554 x 974 pixels), done here without the simulator.  Ours runs
on an array of as many multipliers (1,024), as much memory for maps and for weights (1 MB each) and as slow a DRAM (8
bytes a cycle) as its Meta-prototype-like machine; like DeFiNES there, it looks for the least traffic.
"""

from collections.abc import Mapping, Sequence

import accelsim
from accelsim.network.table_layer import TableLayer
from accelsim.workload import LayerTable
from experiments.comparisons.row import Row, compared

REFERENCE = "DeFiNES's case study 1, by its own rules"
COMMAND = "python -m experiments.validation"
MACHINE = "spatial-dense-32x32"
KEYS = (
    "clock_mhz=200",
    "buffers.weight_kb=1024",
    "buffers.input_kb=512",
    "buffers.output_kb=512",
    "dram.type=ideal",
    "dram.bandwidth_gbs=1.6",
    "objective=dram",
)
LEVELS = ("layers", "depth-first")
PIXELS = (554, 974)
SHAPES = (  # name, filters, size of the kernel; the last is the upscaling as a convolution to 4 x 4 outputs a pixel
    ("feature", 56, 5),
    ("shrink", 12, 1),
    ("map1", 12, 3),
    ("map2", 12, 3),
    ("map3", 12, 3),
    ("map4", 12, 3),
    ("expand", 56, 1),
    ("upscale", 16, 3),
)


def network(pixels: tuple[int, int] = PIXELS, *, padded: bool = False) -> LayerTable:
    """FSRCNN as a chain of convolutions; as DeFiNES states it without padding, so that maps shrink."""
    before = "input"
    channels = 1
    height, width = pixels
    layers = []
    for name, filters, size in SHAPES:
        padding = size // 2 if padded else 0
        kernel = (size, size)
        layers.append(
            TableLayer(name, "conv", channels, filters, height, width, kernel, padding=padding, inputs=(before,))
        )
        before = name
        channels = filters
        height -= size - 1 - 2 * padding
        width -= size - 1 - 2 * padding
    return LayerTable("fsrcnn", tuple(layers))


def published_bytes(layers: Sequence[TableLayer]) -> dict[str, int]:
    """DRAM bytes by level, of a chain of convolutions without padding, in 8-bit words."""
    weights = sum(layer.out_channels * layer.in_channels * layer.kernel[0] * layer.kernel[1] for layer in layers)
    maps = [layers[0].in_channels * layers[0].height * layers[0].width]
    for layer in layers:
        rows = layer.height - layer.kernel[0] + 1
        columns = layer.width - layer.kernel[1] + 1
        maps.append(layer.out_channels * rows * columns)
    ends = maps[0] + maps[-1] + weights
    return {"layers": ends + 2 * sum(maps[1:-1]), "depth-first": ends}


def our_bytes(table: LayerTable) -> dict[str, int]:
    """DRAM bytes by level, as the simulator finds them."""
    machine = accelsim.load_hardware(MACHINE, KEYS)
    found = {}
    for level in LEVELS:
        total = accelsim.simulate(table, machine, engine="fast", level=level).total
        found[level] = int(total["dram_read_bytes"]) + int(total["dram_write_bytes"])
    return found


def rows() -> list[Row]:
    """Bytes layer by layer and depth-first, and what the one saves of the other."""
    return rows_by_level(
        "DRAM bytes of FSRCNN", REFERENCE, COMMAND, our_bytes(network()), published_bytes(network().layers)
    )


def rows_by_level(
    what: str,
    reference: str,
    command: str,
    ours: Mapping[str, int],
    theirs: Mapping[str, int],
    remarks: Mapping[str, str] | None = None,
) -> list[Row]:
    """A row for the bytes of each of LEVELS, and one for what depth-first saves; remarks: more to say, by level."""
    found = []
    for level in LEVELS:
        said = f"{ours[level] / 1e6:.2f} for {theirs[level] / 1e6:.2f} MB"
        if remarks:
            said += f"; {remarks[level]}"
        found.append(compared(f"{what}, {level}", reference, [(ours[level], theirs[level])], command, said))
    gain, their_gain = (count["layers"] / count["depth-first"] for count in (ours, theirs))
    said = f"{gain:.1f} for {their_gain:.1f} times fewer"
    return [*found, compared(f"{what}, what depth-first saves", reference, [(gain, their_gain)], command, said)]
