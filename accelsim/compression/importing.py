"""Files of other tools as ours:
an ONNX network or a zoo network's weights as a ``.dual`` file, a table as NETWORK.csv.

Into a ``.dual`` file the network goes as it is, to be simulated at once: weights to 8 bits, each
layer by its own largest, zeros stay zeros, and nothing is pruned in either domain.  ``accelsim
compress`` makes the small, sparse file.
"""

from pathlib import Path

import numpy as np

from accelsim.compression.quantize import compressed_network, quantize
from accelsim.dual.file import CompressedNetwork, write_dual
from accelsim.dual.manifest import weight_names
from accelsim.errors import InputError
from accelsim.files import write_text
from accelsim.network import Graph, Network
from accelsim.network.onnx import read_onnx
from accelsim.network.tables import read_table, table_text
from accelsim.network.weights import read_weights, save_network
from accelsim.network.zoo import NETWORKS, named_graph

LARGEST_INDEX = 127
SOURCES = {".csv": (".csv",), ".onnx": (".dual",), ".safetensors": (".dual", ".safetensors")}
SOURCES[".npz"] = SOURCES[".safetensors"]


def import_file(source: Path, out: Path, network: str | None = None) -> str:
    """Write ``out``, whose ending says what it becomes, and return a line about it.

    .onnx -> .dual; .safetensors, .npz -> .dual, or .safetensors with the zoo's names, which
    ``accelsim compress`` and recipes take; a SCALE-Sim topology (.csv) -> NETWORK.csv.
    network: the zoo's name of the network that a weight file belongs to; by default the one whose
    arrays have the same names and shapes.
    Raises InputError if a file cannot be read, is not sound, or cannot become what is asked for.
    """
    if source.suffix not in SOURCES:
        raise InputError(f"{source}: ending {source.suffix!r}, expected one of {', '.join(SOURCES)}")
    if out.suffix not in SOURCES[source.suffix]:
        endings = " or ".join(SOURCES[source.suffix])
        raise InputError(f"{out}: ending {out.suffix!r}, expected {endings} from a {source.suffix} file")
    if network is not None and SOURCES[source.suffix] != SOURCES[".safetensors"]:
        expected = "expected a .safetensors or .npz file"
        raise InputError(f"--network {network}: {expected}, {source} has its own layers")
    if source.suffix == ".csv":
        layers = read_table(source)
        write_text(out, table_text(layers))
        return f"{out}: {len(layers)} layers"
    found = read_onnx(source) if source.suffix == ".onnx" else zoo_network(source, network)
    if out.suffix == ".safetensors":
        save_network(found, out)
        return f"{out}: {len(found.arrays)} arrays of {found.graph.name}"
    model = write_dual(out, _as_it_is(found, source), "bz2")
    return f"{out}: {found.graph.name}, {model.parameters:,} parameters, {model.file_bytes:,} bytes"


def zoo_network(path: Path, name: str | None = None) -> Network:
    """A weight file with the zoo's graph of that name, or the only graph that it fits.

    A prefix ``module.`` on every array is dropped.  Raises InputError if the file is not sound,
    fits no graph or several, or not the one that is named.
    """
    arrays = read_weights(path)
    if arrays and all(key.startswith("module.") for key in arrays):
        arrays = {key.removeprefix("module."): array for key, array in arrays.items()}
    if name is None:
        name = _only_fit(path, {key: array.shape for key, array in arrays.items()})
    try:
        return Network(_graph(name), arrays)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{path}: {error}") from None


def _graph(name: str) -> Graph:
    try:
        return named_graph(name)
    except InputError as error:
        raise InputError(f"--network: {error}") from None


def _only_fit(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    fits = [name for name, graph in NETWORKS.items() if graph().parameters == shapes]
    if len(fits) == 1:
        return fits[0]
    if fits:
        found = f"the arrays are those of {', '.join(fits)}"
        raise InputError(f"{path}: {found}, expected --network with one of them")
    common = {}
    for name, graph in NETWORKS.items():
        common[name] = len(graph().parameters.keys() & shapes.keys())
    nearest = max(common, key=lambda name: common[name])
    hint = f"; {common[nearest]} of them are named as in {nearest}" if common[nearest] else ""
    raise InputError(
        f"{path}: its {len(shapes)} arrays are those of no known network{hint}; "
        f"expected --network with one of {', '.join(NETWORKS)}"
    )


def _as_it_is(network: Network, source: Path) -> CompressedNetwork:
    """The network at 8 bits a weight, unpruned."""
    cells = {}
    for name in weight_names(network.graph):
        largest = float(np.abs(network.arrays[name]).max(initial=0))
        cells[name] = (largest or 1.0) / LARGEST_INDEX
    quantized = quantize(network, 1.0, 0.0, cells=cells)
    notes = {"source": source.name[:1000], "made": "imported: 8-bit weights, nothing pruned"}
    return compressed_network(quantized, winograd_threshold=0.0, value_bits=16, provenance=notes)
