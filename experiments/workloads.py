"""Write the tables of ``workloads/`` from the zoo's graphs: ``python -m experiments.workloads``.

Weight densities of AlexNet: Han et al. 2015 (alexnet-han) and the CaffeNet released with Park et al., ICLR 2017
(alexnet-park).  Densities of VGG-16's weights and inputs: SCNN, ISCA 2017, table of sparsities (vgg16-scnn).
Input densities of AlexNet's convolutions: Eyeriss, JSSC 2017, share of zeros of the input maps.  Elsewhere 1.
alexnet-eyeriss and vgg16-eyeriss: the convolutions alone, as the chip was measured on them, dense weights, and the
published zeros of the input maps; a layer's output then has the density that the next convolution finds.
"""

import numpy as np

from accelsim.dual.model import DualModel
from accelsim.files import write_text
from accelsim.network import Network
from accelsim.network.table_layer import TableLayer
from accelsim.network.tables import table_text
from accelsim.network.zoo import named_graph
from accelsim.workload import layer_works
from experiments.paths import WORKLOADS

EYERISS_INPUTS = (0.9999, 0.613, 0.275, 0.207, 0.224, 1, 1, 1)
EYERISS_VGG_INPUTS = (0.984, 0.523, 0.752, 0.613, 0.603, 0.419, 0.413, 0.357, 0.253, 0.146, 0.206, 0.126, 0.115)
HAN = (0.84, 0.38, 0.35, 0.37, 0.37, 0.09, 0.09, 0.25)
PARK = (1, 0.1435, 0.069, 0.0819, 0.1151, 0.0972, 0.1563, 0.2618)
SCNN_WEIGHT_SPARSITY = (0.43, 0.79, 0.67, 0.65, 0.47, 0.78, 0.59, 0.68, 0.74, 0.66, 0.65, 0.71, 0.64)
SCNN_INPUT_SPARSITY = (0, 0.50, 0.11, 0.21, 0.19, 0.37, 0.31, 0.29, 0.50, 0.55, 0.61, 0.67, 0.68)


def table(
    network: str, weights: tuple[float, ...] = (), inputs: tuple[float, ...] = (), convolutions: bool = False
) -> str:
    """The layers of a network as the text of its table.

    weights, inputs: densities of its first layers with weights, in order; 1 elsewhere.  convolutions: leave out others.
    """
    graph = named_graph(network)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in graph.parameters.items()}
    layers = []
    weighted = 0
    for work in layer_works(DualModel(Network(graph, arrays), {}, 0.0)):
        if convolutions and work.kind != "conv":
            continue
        weight = activation = 1.0
        if work.weights is not None:
            weight = weights[weighted] if weighted < len(weights) else 1.0
            activation = inputs[weighted] if weighted < len(inputs) else 1.0
            weighted += 1
        assert work.stride[0] == work.stride[1]
        assert work.padding[0] == work.padding[1]
        layers.append(
            TableLayer(
                name=work.name,
                kind=work.kind,
                in_channels=work.in_channels,
                out_channels=work.out_channels,
                height=work.height,
                width=work.width,
                kernel=work.kernel,
                stride=work.stride[0],
                padding=work.padding[0],
                groups=work.groups,
                weight_density=weight,
                activation_density=activation,
                inputs=None if convolutions else work.sources,
            )
        )
    return table_text(layers)


def main() -> None:
    """Write all tables."""
    tables = {
        "alexnet": table("alexnet"),
        "alexnet-han": table("alexnet", HAN, EYERISS_INPUTS),
        "alexnet-park": table("alexnet", PARK, EYERISS_INPUTS),
        "alexnet-eyeriss": table("alexnet", inputs=EYERISS_INPUTS, convolutions=True),
        "vgg16-eyeriss": table("vgg16", inputs=EYERISS_VGG_INPUTS, convolutions=True),
        "vgg16": table("vgg16"),
        "vgg16-scnn": table(
            "vgg16", tuple(1 - s for s in SCNN_WEIGHT_SPARSITY), tuple(1 - s for s in SCNN_INPUT_SPARSITY)
        ),
        "googlenet": table("googlenet"),
        "resnet18": table("resnet18"),
        "resnet50": table("resnet50"),
        "mobilenet-v1": table("mobilenet-v1"),
    }
    for name, content in tables.items():
        write_text(WORKLOADS / f"{name}.csv", content)


if __name__ == "__main__":
    main()
