"""Residual networks: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, and the paper's variant.

Names of nodes and arrays are those of akamaster/pytorch_resnet_cifar10 and of torchvision.
"""

from accelsim.network.graph import Graph
from accelsim.network.layers import Add, Flatten, GlobalAveragePool, Linear, MaxPool, PadChannels
from accelsim.network.zoo.builder import Builder


def resnet_cifar(depth: int) -> Graph:
    """ResNet for 32 x 32 images (section 4.2): depth = 6 n + 2, shortcuts without parameters.

    ResNet-20 has 40.55 M convolution MACs and 0.27 M parameters.  Raises ValueError if the depth is
    not 6 n + 2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"a CIFAR ResNet's depth is 6 n + 2, got {depth}")
    b = Builder(f"resnet{depth}-cifar10", (32, 32, 3))
    b.conv("conv1", 16, 3)
    b.batch_norm("bn1")
    x = b.relu("relu1")
    for stage, K in enumerate((16, 32, 64), start=1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            p = f"layer{stage}.{block}"
            b.conv(f"{p}.conv1", K, 3, x, stride=stride)
            b.batch_norm(f"{p}.bn1")
            b.relu(f"{p}.relu1")
            b.conv(f"{p}.conv2", K, 3)
            main = b.batch_norm(f"{p}.bn2")
            if stride == 2:
                b.add(f"{p}.subsample", MaxPool(kernel=(1, 1), stride=(2, 2)), x)
                x = b.add(f"{p}.shortcut", PadChannels(before=K // 4, after=K // 4))
            b.add(f"{p}.add", Add(), main, x)
            x = b.relu(f"{p}.relu2")
    b.add("pool", GlobalAveragePool())
    b.add("flatten", Flatten())
    b.add("linear", Linear(in_features=64, out_features=10))
    return b.graph()


def resnet18(*, folded: bool = False, pooled: bool = False) -> Graph:
    """ResNet-18 for 224 x 224 images: 1814.07 M MACs, 11.69 M parameters (torchvision's).

    folded: batch normalisation folded into the convolutions, which then have a bias.
    pooled: the variant of arXiv:1902.08192, 2347.14 M MACs: the three stride-2 3 x 3 convolutions run at stride 1 and
        are max-pooled, so that Winograd serves them, and the first block, too, has a 1 x 1 projection.
    """
    b = _Torchvisions("resnet18" + "-pooled" * pooled + "-folded" * folded, folded)
    for stage, K in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            x = b.last
            p = f"layer{stage}.{block}"
            stride = 2 if block == 0 and stage > 1 else 1
            b.conv_norm(f"{p}.conv1", f"{p}.bn1", K, 3, x, stride=1 if pooled else stride)
            b.relu(f"{p}.relu1")
            if pooled and stride == 2:
                b.add(f"{p}.pool", MaxPool(kernel=(2, 2), stride=(2, 2)))
            main = b.conv_norm(f"{p}.conv2", f"{p}.bn2", K, 3)
            if stride == 2 or (pooled and stage == 1 and block == 0):
                x = b.conv_norm(f"{p}.downsample.0", f"{p}.downsample.1", K, 1, x, stride=stride)
            b.add(f"{p}.add", Add(), main, x)
            b.relu(f"{p}.relu2")
    return b.with_classifier()


def resnet50() -> Graph:
    """ResNet-50 for 224 x 224 images with the stride in the 3 x 3 convolutions (torchvision's): 4089.18 M MACs."""
    b = _Torchvisions("resnet50", folded=False)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            x = b.last
            p = f"layer{stage}.{block}"
            stride = 2 if block == 0 and stage > 1 else 1
            b.conv_norm(f"{p}.conv1", f"{p}.bn1", width, 1, x)
            b.relu(f"{p}.relu1")
            b.conv_norm(f"{p}.conv2", f"{p}.bn2", width, 3, stride=stride)
            b.relu(f"{p}.relu2")
            main = b.conv_norm(f"{p}.conv3", f"{p}.bn3", 4 * width, 1)
            if block == 0:
                x = b.conv_norm(f"{p}.downsample.0", f"{p}.downsample.1", 4 * width, 1, x, stride=stride)
            b.add(f"{p}.add", Add(), main, x)
            b.relu(f"{p}.relu3")
    return b.with_classifier()


class _Torchvisions(Builder):
    """A ResNet for 224 x 224 images: it begins with the stem.

    folded: batch normalisation folded into the convolutions, which then have a bias.
    """

    def __init__(self, name: str, folded: bool) -> None:
        super().__init__(name, (224, 224, 3))
        self.folded = folded
        self.conv_norm("conv1", "bn1", 64, 7, stride=2)
        self.relu("relu")
        self.add("maxpool", MaxPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)))

    def conv_norm(
        self,
        conv: str,
        norm: str,
        out_channels: int,
        kernel: int,
        source: str | None = None,
        *,
        stride: int = 1,
    ) -> str:
        """A convolution and its batch normalisation, or one convolution with a bias."""
        self.conv(conv, out_channels, kernel, source, stride=stride, bias=self.folded)
        return conv if self.folded else self.batch_norm(norm)

    def with_classifier(self) -> Graph:
        """The network so far and its classifier, checked."""
        features = self.channels[self.last]
        self.add("avgpool", GlobalAveragePool())
        self.add("flatten", Flatten())
        self.add("fc", Linear(in_features=features, out_features=1000))
        return self.graph()
