"""Cut layers of ResNet-18 to size for the RTL cases: ``ACCELSIM_DATA=FOLDER python -m tests.rtl.cut_resnet18``.

Keeps the first filters and channels of a layer and the top left of its input on a real image (the folder's ResNet-18
and its val800 images), prunes the weights to 80 % by magnitude and stores both as int8.  Layer 4's 3 x 3 kernels, which
the folder holds only as a reconstruction, are not used.
"""

import numpy as np

from accelsim.datapath.integer import quantize_weights
from accelsim.dual.deploy import percentile
from accelsim.dual.quantizer import dyadic
from accelsim.files import atomic_write
from accelsim.network import forward
from accelsim.network.weights import load_network
from accelsim.network.zoo import resnet18
from tests.network.reference_data import data_folder, imagenet_test
from tests.rtl.cases import CUT_RESNET18

# name: filters, channels, input rows and columns kept
CUTS = {
    "conv1": (16, 3, 37),
    "layer1.0.conv1": (32, 64, 14),
    "layer2.0.conv1": (32, 64, 15),
    "layer2.0.downsample.0": (64, 64, 15),
    "layer3.0.conv2": (32, 128, 14),
    "layer4.0.downsample.0": (64, 128, 14),
}
SPARSITY = 0.8


def main() -> None:
    """Write the file that ``cases`` reads."""
    network = load_network(resnet18(folded=True), data_folder() / "weights" / "resnet18_imagenet_fp16.safetensors")
    images, _ = imagenet_test("val800.zip", 100)
    arrays = {}

    def note(node, inputs, output):
        if node.name in CUTS:
            K, C, size = CUTS[node.name]
            w = network.arrays[f"{node.name}.weight"][:K, :C]
            w = np.where(np.abs(w) > percentile({"w": np.abs(w)}, SPARSITY), w, 0)
            arrays[f"{node.name}:w"] = quantize_weights(w)[0].astype(np.int8)
            arrays[f"{node.name}:x"] = dyadic(inputs[0][0, :size, :size, :C], 8)[0].astype(np.int8)
            arrays[f"{node.name}:geometry"] = np.array([node.layer.stride[0], node.layer.padding[0]])

    forward(network, network.graph.preprocessing.apply(images[:1]), observe=note)
    with atomic_write(CUT_RESNET18) as stream:
        np.savez_compressed(stream, **arrays)


if __name__ == "__main__":
    main()
