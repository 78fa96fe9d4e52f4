"""Files of other tools as ours.

An ONNX network or a zoo network's weights as a ``.dual`` file or a table of layers, a topology as
NETWORK.csv.

Into a ``.dual`` file the network goes as it is, to be simulated at once: weights to 8 bits, each
filter by its own largest (``eightbit``), zeros stay zeros, and nothing is pruned in either domain.
``accelsim compress`` and ``accelsim sparsify`` make the small, sparse file.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from accelsim.arrays import Array
from accelsim.compression.calibrate import input_density
from accelsim.compression.eightbit import eight_bit
from accelsim.compression.fold import fold_batch_norm
from accelsim.dual.file import decode_dual, encode_dual, write_dual
from accelsim.dual.model import DualModel
from accelsim.errors import InputError
from accelsim.files import check_output, write_text
from accelsim.network import Graph, Network
from accelsim.network.graph import MOST_PIXEL, Preprocessing
from accelsim.network.onnx import read_onnx_in_part
from accelsim.network.onnx.unknown import Unknown
from accelsim.network.samples import read_samples
from accelsim.network.tables import read_table, table_text
from accelsim.network.tabulate import tabulate
from accelsim.network.weights import read_weights, save_network
from accelsim.network.zoo import NETWORKS, named_graph
from accelsim.settings import PLAIN_NUMBER

SOURCES = {".csv": (".csv",), ".onnx": (".dual", ".csv"), ".safetensors": (".dual", ".csv", ".safetensors")}
SOURCES |= dict.fromkeys((".npz", ".pt", ".pth"), SOURCES[".safetensors"])
MOST_PIXELS = 1 << 20  # of either side of an input, and channels
DENSITY_IMAGES = 64  # pictures that activation densities are measured on
# what a pixel is divided by, then less
SCALES = {"0:1": (255.0, 0.0), "0:255": (1.0, 0.0), "-1:1": (127.5, 1.0)}


@dataclass(frozen=True)
class Wishes:
    """What a user says about a network beside its file; None: nothing.

    network: the zoo's name of the network that a weight file belongs to.  input_shape: of an ONNX
    file's input.
    keep_unknown: cost operators that are not known as traffic.  name: what the network is called
    from now on.
    mean, std: of pixels, a channel each or one for all, in units of ``range``.  bgr: they go in as
    blue, green, red.
    range: what 0..255 becomes, a key of ``SCALES``.  images: pictures to measure activation
    densities on.
    """

    network: str | None = None
    input_shape: tuple[int, ...] | None = None
    keep_unknown: bool = False
    name: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False
    range: str | None = None
    images: Path | None = None

    @property
    def says_preprocessing(self) -> bool:
        """Whether anything is said of how pixels go in."""
        return self.bgr or any(value is not None for value in (self.mean, self.std, self.range))


def import_file(source: Path, out: Path, wishes: Wishes | None = None) -> list[str]:
    """Write ``out``, whose ending says what it becomes, and return lines about it.

    .onnx -> .dual or .csv; .safetensors, .npz, .pt -> .dual, .csv, or .safetensors with the zoo's
    names, which ``accelsim compress`` and recipes take; a SCALE-Sim topology (.csv) -> NETWORK.csv.
    Raises InputError if a file cannot be read, is not sound, or cannot become what is asked for.
    """
    wishes = wishes or Wishes()
    if source.suffix not in SOURCES:
        raise InputError(f"{source}: ending {source.suffix!r}, expected one of {', '.join(SOURCES)}")
    if out.suffix not in SOURCES[source.suffix]:
        endings = " or ".join(SOURCES[source.suffix])
        raise InputError(f"{out}: ending {out.suffix!r}, expected {endings} from a {source.suffix} file")
    check_output(out, source, wishes.images)
    if source.suffix == ".csv":
        refuse_unused(source, wishes, ())
        layers = read_table(source)
        write_text(out, table_text(layers))
        return [f"{out}: {len(layers)} layers"]
    if out.suffix == ".safetensors":
        refuse_unused(source, wishes, ("network",))
    found, lines = read_network(source, wishes)
    if out.suffix == ".safetensors":
        save_network(found, out)
        return [f"{out}: {len(found.arrays)} arrays of {found.graph.name}"]
    images = _pictures(found, wishes)
    if images is None:
        lines.append("activations count as dense, none were seen: --images FOLDER measures them")
    if out.suffix == ".csv":
        return [*lines, _write_table(found, images, out)]
    notes = {"source": source.name[:1000], "made": "imported: 8-bit weights, nothing pruned"}
    compressed = eight_bit(found, notes, images)
    del found
    model = write_dual(out, compressed, "deflate")
    name = model.network.graph.name
    return [*lines, f"{out}: {name}, {model.parameters:,} parameters, {model.file_bytes:,} bytes"]


def refuse_unused(source: Path, wishes: Wishes, used: Collection[str]) -> None:
    """Raises InputError naming the first thing that is said of a file and that nothing of it is made with.

    used: fields of ``Wishes``.
    """
    for field in fields(wishes):
        if field.name not in used and getattr(wishes, field.name) != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            others = ", ".join(f"--{name.replace('_', '-')}" for name in used) or "nothing"
            raise InputError(f"{flag}: does not apply to {source} and what is made of it, expected {others} beside it")


def as_model(network: Network, name: str, images: Path | None = None) -> DualModel:
    """A network at 8 bits a weight, as a ``.dual`` file of it would give it.

    images: pictures to measure activation densities on.  Raises InputError if they or the name do
    not fit.
    """
    renamed = Network(_renamed(network.graph, name), network.arrays)
    return decode_dual(eight_bit_file(renamed, images), name)


def eight_bit_file(network: Network, images: Path | None = None) -> bytes:
    """The ``.dual`` file of a network at 8 bits a weight.

    images: pictures to measure activation densities on.  Raises InputError if they do not fit.
    """
    pictures = _pictures(network, Wishes(images=images))
    notes = {"made": "taken over as it is: 8-bit weights, nothing pruned"}
    return encode_dual(eight_bit(network, notes, pictures), "deflate")


def _renamed(graph: Graph, name: str) -> Graph:
    """The graph under another name.  Raises InputError if it is no name."""
    try:  # what is copied has not been checked
        return Graph.model_validate(graph.model_copy(update={"name": name}).model_dump())
    except ValueError:
        raise InputError(f"--name {name!r}: expected letters, digits, '.', '-', '/' and '_'") from None


def _write_table(network: Network, images: Array | None, out: Path) -> str:
    density = {} if images is None else input_density(fold_batch_norm(network), images)
    layers = tabulate(network, density)
    if not layers:
        raise InputError(f"{out}: no layer of the network costs anything, expected one at least")
    write_text(out, table_text(layers))
    return f"{out}: {len(layers)} layers of {network.graph.name}"


def read_network(source: Path, wishes: Wishes) -> tuple[Network, list[str]]:
    """The network of a file, with what the user says of it, and lines to tell them.

    Raises InputError if it is not sound or does not fit what is said.
    """
    lines: list[str] = []
    other = ("input_shape", "keep_unknown") if source.suffix == ".onnx" else ("network",)
    refuse_unused(source, wishes, (*other, "name", "mean", "std", "bgr", "range", "images"))
    if source.suffix == ".onnx":
        network, unknown = read_onnx_in_part(source, wishes.input_shape, keep_unknown=wishes.keep_unknown)
        lines += _about(unknown)
        stated = network.graph.preprocessing != Preprocessing()
        if not stated and not wishes.says_preprocessing:
            lines.append(
                "the file does not say how pixels go in; taken as 0..1 (x / 255), RGB: "
                "say otherwise by --range, --mean, --std, --bgr"
            )
    else:
        network = zoo_network(source, wishes.network)
    graph = network.graph
    if wishes.says_preprocessing:
        graph = graph.model_copy(update={"preprocessing": preprocessing(wishes, graph.input_shape[2])})
    if wishes.name is not None:
        graph = _renamed(graph, wishes.name)
    return Network(graph, network.arrays), lines


def _about(unknown: Unknown) -> list[str]:
    """What of an ONNX file is not known, one line a kind."""
    lines = []
    for what, found in (("costed as traffic, not computed", unknown.kept), ("left out", unknown.dropped)):
        for operator, names in found.items():
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            lines.append(f"{operator} is {what}: {shown}")
    return lines


def preprocessing(wishes: Wishes, channels: int) -> Preprocessing:
    """How pixels go in, as the flags say.

    Raises InputError that names the flag which does not fit.
    """
    asked = wishes.range or "0:1"
    if asked not in SCALES:
        raise InputError(f"--range {asked}: expected one of {', '.join(SCALES)}")
    scale, less = SCALES[asked]
    for flag, values in (("--mean", wishes.mean), ("--std", wishes.std)):
        if values is not None and len(values) not in (1, channels):
            raise InputError(f"{flag} {','.join(f'{x:g}' for x in values)}: expected 1 or {channels} numbers")
    std = wishes.std or (1.0,)
    if min(std) <= 0 or not np.isfinite([*std, *(wishes.mean or ())]).all():
        raise InputError(f"--std {','.join(f'{x:g}' for x in std)}: expected finite numbers above 0")
    mean = tuple(less + x for x in wishes.mean or (0.0,))
    try:
        return Preprocessing(scale=scale, mean=mean, std=std, order="bgr" if wishes.bgr else "rgb")
    except ValueError:
        raise InputError(f"--mean, --std: pixels become numbers beyond {MOST_PIXEL:g}, expected less") from None


def _pictures(network: Network, wishes: Wishes) -> Array | None:
    """The pictures that densities are measured on, as the network takes them."""
    if wishes.images is None:
        return None
    pixels = read_samples(wishes.images, network.graph.input_shape, DENSITY_IMAGES)
    return network.graph.preprocessing.apply(pixels)


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


def numbers(flag: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them, of a flag.  Raises InputError if they are none."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(PLAIN_NUMBER.fullmatch(part) for part in parts):
        raise InputError(f"{flag} {text!r}: expected numbers with commas between them")
    return tuple(float(part) for part in parts)


def sizes(flag: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers above 0 with commas or x between them, of a flag.

    Raises InputError if they are none.
    """
    if text is None:
        return None
    found = [part.strip() for part in text.replace("x", ",").split(",")]
    if not all(re.fullmatch("[0-9]{1,7}", part) and 1 <= int(part) <= MOST_PIXELS for part in found):
        raise InputError(f"{flag} {text!r}: expected whole numbers of 1 to {MOST_PIXELS}, such as 3,224,224")
    return tuple(int(x) for x in found)
