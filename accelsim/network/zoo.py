"""Well-known networks as graphs, with the weight names of their published files."""

from accelsim.network.graph import INPUT, Graph, Node, Preprocessing
from accelsim.network.layers import (
    Add,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    PadChannels,
    Relu,
)

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class _Builder:
    """Collects nodes; each ``add`` returns the new node's name, and reads the last node unless told otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, name: str, layer: Layer, *inputs: str) -> str:
        last = self.nodes[-1].name if self.nodes else INPUT
        self.nodes.append(Node(name=name, layer=layer, inputs=inputs or (last,)))
        return name


def resnet_cifar(depth: int) -> Graph:
    """ResNet for 32 x 32 images (He et al. 2016, section 4.2): depth = 6 n + 2, shortcuts without parameters.

    Names are those of akamaster/pytorch_resnet_cifar10.  Raises ValueError if the depth is not 6 n + 2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR ResNet's depth is 6 n + 2, got {depth}")
    b = _Builder()
    b.add("conv1", Conv(in_channels=3, out_channels=16, kernel=(3, 3), padding=(1, 1)))
    b.add("bn1", BatchNorm(channels=16))
    x, C = b.add("relu1", Relu()), 16
    for stage, K in enumerate((16, 32, 64), start=1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            p = f"layer{stage}.{block}"
            conv1 = Conv(in_channels=C, out_channels=K, kernel=(3, 3), stride=(stride, stride), padding=(1, 1))
            b.add(f"{p}.conv1", conv1, x)
            b.add(f"{p}.bn1", BatchNorm(channels=K))
            b.add(f"{p}.relu1", Relu())
            b.add(f"{p}.conv2", Conv(in_channels=K, out_channels=K, kernel=(3, 3), padding=(1, 1)))
            main = b.add(f"{p}.bn2", BatchNorm(channels=K))
            if stride == 2:
                b.add(f"{p}.subsample", MaxPool(kernel=(1, 1), stride=(2, 2)), x)
                x = b.add(f"{p}.shortcut", PadChannels(before=K // 4, after=K // 4))
            b.add(f"{p}.add", Add(), main, x)
            x, C = b.add(f"{p}.relu2", Relu()), K
    b.add("pool", GlobalAveragePool())
    b.add("flatten", Flatten())
    b.add("linear", Linear(in_features=64, out_features=10))
    return Graph(name=f"resnet{depth}-cifar10", input_shape=(32, 32, 3), nodes=tuple(b.nodes), preprocessing=IMAGENET)


def resnet20() -> Graph:
    """ResNet-20 for CIFAR-10: 40.55 M convolution MACs, 0.27 M parameters."""
    return resnet_cifar(20)


NETWORKS = {"resnet20-cifar10": resnet20}
