"""The images that a compression's recipe names, to calibrate, tune and round with, and to measure."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelsim.arrays import Array, Ints
from accelsim.compression.recipe import CompressionRecipe
from accelsim.network.graph import Graph
from accelsim.training.datasets import Source, load_split, resolve
from accelsim.training.superresolution import Photographs, photographs, training_patches


class RecipeImages:
    """The images that a recipe names, if any.

    Training images as the network takes them, test images to measure on.
    """

    def __init__(self, recipe: CompressionRecipe, graph: Graph):
        self.train: Source | None = None  # with labels
        self.test: Source | Photographs | None = None
        self._preprocess = graph.preprocessing.apply
        self._count = 0
        data = recipe.data
        if data is None:
            return
        if data.kind == "super_resolution":
            folder = resolve(data.path)
            patches = training_patches(data, folder)
            self.test = photographs(data, folder)
            self._count = len(patches)
            self._take: Callable[[Ints], NDArray[Any]] = lambda index: patches.pairs(index)[0]
        else:
            shape = graph.input_shape
            classes = graph.shapes[graph.nodes[-1].name][-1]
            self.train = load_split(data, "train", shape, classes)
            self.test = load_split(data, "test", shape, classes)
            self._count = len(self.train.labels)
            self._take = self.train.take

    def first(self, number: int) -> Array:
        """The first training images."""
        return self._preprocess(self._take(np.arange(min(number, self._count))))

    def drawn(self, number: int) -> Array:
        """Training images drawn by a fixed seed."""
        return self._preprocess(self._take(np.random.default_rng(0).permutation(self._count)[:number]))
