"""Store what an uncompressed network answers beside a sample of images, so that ``validate`` can say the agreement.

python -m experiments.add_reference models/cifar10-sample.npz resnet20-cifar10 WEIGHTS.safetensors
"""

import sys
from dataclasses import replace
from pathlib import Path

from accelsim.datapath.validate import answers
from accelsim.errors import InputError
from accelsim.network.images import read_images, write_images
from accelsim.network.weights import load_network
from accelsim.network.zoo import named_graph


def main(file: str, network: str, weights: str) -> None:
    """Rewrite the file with the network's answers as ``reference``."""
    images = read_images(Path(file))
    reference = answers(load_network(named_graph(network), Path(weights)), images.pixels)
    write_images(Path(file), replace(images, reference=reference))
    print(f"{file}: {len(reference)} answers, {100 * (reference == images.labels).mean():.2f} % are the label")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
