"""The networks that recipes name: one of the zoo, or a file of the user's own beside the recipe.

An ONNX file brings its graph and its weights, a ``.dual`` file the decoded ones, with batch-norm
folded.
"""

from pathlib import Path
from typing import TypeVar

from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.network.graph import Graph, Network
from accelsim.network.onnx import read_onnx
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph
from accelsim.settings import Section

FILES = (".onnx", ".dual")
MACHINE_FILES = (".yaml", ".yml", ".cfg")
Settings = TypeVar("Settings", bound=Section)


def is_file(name: str) -> bool:
    """Whether a recipe means a file by that name, and not a network of the zoo."""
    return name.endswith(FILES)


def beside(recipe: Path, name: str) -> str:
    """The name of a network as a recipe has it.

    Of a file, its path: a relative one starts at the recipe's folder.
    """
    return str(recipe.parent / name) if is_file(name) else name


def machine_beside(recipe: Path, name: str) -> str:
    """What a recipe calls a machine: a bare name as it is, the path of a file from the recipe's folder."""
    return str(recipe.parent / name) if Path(name).suffix in MACHINE_FILES else name


def beside_in(settings: Settings, recipe: Path) -> Settings:
    """The settings with their key ``network``, if it is a file, as ``beside`` has it."""
    name = getattr(settings, "network", None)
    return settings.model_copy(update={"network": beside(recipe, name)}) if isinstance(name, str) else settings


def own_network(name: str) -> Network | None:
    """The network of a file; None for a name of the zoo.

    Raises InputError if the file is not sound.
    """
    if not is_file(name):
        return None
    path = Path(name)
    return read_onnx(path) if path.suffix == ".onnx" else read_dual(path).network


def find_network(name: str, source: str) -> Graph:
    """The graph of a zoo network or of a file.

    Raises InputError that begins with the source of the name.
    """
    try:
        own = own_network(name)
        return named_graph(name) if own is None else own.graph
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def with_weights(graph: Graph, name: str, weights: Path | None, source: str) -> Network:
    """The graph, found by that name, with the weights of a file, or else with its own file's.

    Raises InputError that begins with the source if there are none, or they do not fit.
    """
    if weights is not None:
        return load_network(graph, weights)
    own = own_network(name)
    if own is None:
        raise InputError(f"{source}: {name!r} is a name of the zoo, expected the key weights beside it")
    return Network(graph, own.arrays)
