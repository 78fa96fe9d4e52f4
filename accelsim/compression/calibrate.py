"""What the layers see on real images: the share of non-zero inputs of each channel."""

import numpy as np

from accelsim.arrays import Array, Ints
from accelsim.errors import NumericalError
from accelsim.network import Network, Node, forward
from accelsim.network.layers import Conv, Linear
from accelsim.threads import on_all_cores


def input_density(network: Network, x: Array, batch: int = 32) -> dict[str, Array]:
    """Share of non-zero inputs of each channel of every convolution and linear layer.

    By node name: (C,) float32.

    x: (N, H, W, C) float32, preprocessed.  Padding is not counted.  Raises NumericalError if an input
    is not a finite number.
    """

    def counted(first: int) -> tuple[dict[str, Ints], dict[str, int]]:
        """Inputs that are not zero, and all of them, of some images."""
        counts: dict[str, Ints] = {}
        sizes: dict[str, int] = {}

        def observe(node: Node, inputs: tuple[Array, ...], _: Array) -> None:
            if isinstance(node.layer, Conv | Linear):
                pixels = inputs[0].reshape(-1, inputs[0].shape[-1])
                if not np.isfinite(pixels.sum(dtype=np.float64)):
                    raise NumericalError(
                        f"{network.graph.name}: layer {node.name}: inputs on the images are no finite numbers, "
                        "expected weights and pixels that float32 can multiply"
                    )
                counts[node.name] = np.asarray(np.count_nonzero(pixels, axis=0))
                sizes[node.name] = len(pixels)

        forward(network, x[first : first + batch], observe=observe)
        return counts, sizes

    parts = on_all_cores(counted, range(0, len(x), batch))
    shares = {}
    for name in parts[0][0] if parts else ():
        count = np.sum([counts[name] for counts, _ in parts], axis=0)
        shares[name] = (count / sum(sizes[name] for _, sizes in parts)).astype(np.float32)
    return shares
