"""Images through a network in small batches, on all cores.

What comes out is in the order of the images.

NumPy and BLAS work outside the interpreter's lock, so threads share the images and the weights.
One BLAS thread each: on products this small more only wait for each other.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from accelsim.errors import InputError
from accelsim.network import Graph
from accelsim.network.count import peak_bytes
from accelsim.threads import cores

BATCH = 50
# of whole numbers, whose sums are exact however many: feature maps stay in a core's cache
WHOLE_BATCH = 10
MAX_BYTES = 1 << 30  # that the activations of all batches at work may take
# that those of one batch may take, if it has more than one image: memory for larger maps comes from the system anew
# for every layer, which takes as long as the layer
BATCH_BYTES = 1 << 26
# called with the number of images that are done since it was last called
Progress = Callable[[int], None]
T = TypeVar("T")


def in_batches(
    graph: Graph,
    pixels: NDArray[Any],
    work: Callable[[NDArray[Any]], T],
    progress: Progress | None = None,
    batch: int = BATCH,
) -> list[T]:
    """``work`` of every batch of preprocessed images, in order.

    pixels: (N, H, W, C), as ``Preprocessing`` takes them.  batch: images at once, of large networks
    fewer.

    Raises InputError if an image needs over MAX_BYTES.
    """
    each = peak_bytes(graph)
    if each > MAX_BYTES:
        raise InputError(f"{graph.name}: an image needs {each} bytes of activations, expected at most {MAX_BYTES}")
    at_once = MAX_BYTES // each
    workers = min(cores(), at_once)
    size = max(1, min(batch, at_once // workers, BATCH_BYTES // each))

    def one(first: int) -> T:
        part = pixels[first : first + size]
        with np.errstate(all="ignore"):  # who looks at the outputs sees what became of them
            result = work(graph.preprocessing.apply(part))
        if progress is not None:
            progress(len(part))
        return result

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(0, len(pixels), size)))
