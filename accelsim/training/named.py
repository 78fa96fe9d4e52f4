"""What a training recipe names, read and checked: networks, first weights, images."""

from pathlib import Path

from accelsim.arrays import Array
from accelsim.dual.file import read_dual
from accelsim.errors import InputError
from accelsim.faults import nearest
from accelsim.network.graph import INPUT, Graph, Network
from accelsim.training.datasets import Source, load_split, resolve
from accelsim.training.first_weights import identity_arrays, initial_arrays, start_arrays
from accelsim.training.networks import find_network, own_network, with_weights
from accelsim.training.recipe import Recipe
from accelsim.training.superresolution import (
    Patches,
    Photographs,
    photographs,
    super_resolver,
    training_patches,
)
from accelsim.training.tail import split


class RecipeParts:
    """The parts that a training recipe names, each found where it says.

    path: of the recipe, for messages.
    """

    def __init__(self, recipe: Recipe, path: Path) -> None:
        """Find the network.

        Raises InputError if it is unknown or does not fit the data.
        """
        self.recipe = recipe
        self.path = path
        self.graph = self._find(recipe.network, "network")

    def _find(self, name: str, key: str) -> Graph:
        """The graph that a key of the recipe names, as it fits the data.

        Raises InputError that names the key.
        """
        source = f"{self.path}: key {key}"
        graph = find_network(name, source)
        data = self.recipe.data
        return super_resolver(graph, data.patch, source) if data.kind == "super_resolution" else graph

    def first_arrays(self) -> dict[str, Array]:
        """The first weights, as the recipe says.

        Raises InputError if a file does not fit the network.
        """
        if self.recipe.start is None:
            own = own_network(self.recipe.network)
            return initial_arrays(self.graph, self.recipe.seed) if own is None else dict(own.arrays)
        if self.recipe.start == "identity":
            return identity_arrays(self.graph, self.recipe.seed)
        return start_arrays(self.graph, resolve(self.recipe.start))

    def teacher(self) -> Network | None:
        """The network to distil from, if the recipe names one.

        Raises InputError if it does not fit.
        """
        settings = self.recipe.teacher
        if settings is None:
            return None
        graph = self._find(settings.network, "teacher.network")
        weights = None if settings.weights is None else resolve(settings.weights)
        teacher = with_weights(graph, settings.network, weights, f"{self.path}: key teacher.network")
        if settings.hint is not None:
            _check_hint(settings.hint, self.graph, teacher.graph, self.path)
        return teacher

    def images(self) -> tuple[Source | Patches, Source | Photographs]:
        """The training images and the test images.

        Raises InputError if there are too few.
        """
        data = self.recipe.data
        images: Source | Patches
        test: Source | Photographs
        if data.kind == "super_resolution":
            test = photographs(data, resolve(data.path))
            images = training_patches(data, resolve(data.path))
        else:
            shape = self.graph.input_shape
            classes = self.graph.shapes[self.graph.nodes[-1].name][-1]
            test = load_split(data, "test", shape, classes)
            images = load_split(data, "train", shape, classes)
        batch = self.recipe.batch
        if len(images) < batch:
            raise InputError(f"{self.path}: key batch: {batch}, expected at most the {len(images)} images")
        return images, test

    def split(self, node: str) -> tuple[Graph, Graph]:
        """The layers before the node, and the others.

        Raises InputError if they cannot be parted there.
        """
        try:
            head, tail = split(self.graph, node)
        except ValueError as error:
            raise InputError(f"{self.path}: key train_from: {error}") from None
        hint = None if self.recipe.teacher is None else self.recipe.teacher.hint
        if hint is not None and hint not in tail.shapes:
            fault = f"{hint!r} comes before {node!r}, expected a node after"
            raise InputError(f"{self.path}: key teacher.hint: {fault}")
        return head, tail

    def rounded_head(self, head: Graph) -> dict[str, Array]:
        """The arrays of the layers before, from the file that the recipe names, if any.

        Raises InputError if they do not fit.
        """
        if self.recipe.head is None:
            return {}
        path = resolve(self.recipe.head)
        arrays = read_dual(path).network.arrays
        for name, shape in head.parameters.items():
            if name not in arrays or arrays[name].shape != shape:
                raise InputError(f"{self.path}: key head: {path} has no array {name!r} of shape {shape}")
        return {name: arrays[name] for name in head.parameters}


def _check_hint(name: str, graph: Graph, teacher: Graph, path: Path) -> None:
    """Raise InputError unless both networks have such a node, of one shape."""
    for network in (graph, teacher):
        if name not in network.shapes or name == INPUT:
            close = nearest(name, network.shapes)
            raise InputError(f"{path}: key teacher.hint: {network.name} has no node {name!r}{close}")
    if graph.shapes[name] != teacher.shapes[name]:
        raise InputError(
            f"{path}: key teacher.hint: node {name!r} is {teacher.shapes[name]} in the teacher, "
            f"expected {graph.shapes[name]} as in {graph.name}"
        )
