"""Plain and branched image classifiers without shortcuts: AlexNet, VGG-16, SqueezeNet, GoogLeNet, MobileNet."""

from accelsim.network.graph import Graph, Node, Preprocessing
from accelsim.network.layers import Concat, Flatten, GlobalAveragePool, Linear, MaxPool
from accelsim.network.zoo.builder import IMAGENET, Builder

# Caffe's networks read BGR and subtract a mean, without scaling.
CAFFE = Preprocessing(scale=1.0, mean=(103.939, 116.779, 123.68), order="bgr")


def _pool(
    b: Builder,
    name: str,
    *,
    kernel: int = 3,
    stride: int = 2,
    padding: int = 0,
    ceil: bool = False,
) -> str:
    pads = (padding, padding)
    layer = MaxPool(kernel=(kernel, kernel), stride=(stride, stride), padding=pads, ceil_mode=ceil)
    return b.add(name, layer)


def _classifier(b: Builder, features: int, names: tuple[str, str, str]) -> Graph:
    """Three fully-connected layers of 4096, 4096 and 1000 outputs."""
    b.add("flatten", Flatten())
    for name, outputs in zip(names, (4096, 4096, 1000), strict=True):
        b.add(name, Linear(in_features=features, out_features=outputs))
        if outputs == 4096:
            b.relu(f"{name}.relu")
        features = outputs
    return b.graph()


def alexnet() -> Graph:
    """AlexNet with its two groups (Krizhevsky et al., NIPS 2012, as published for Caffe): 724.41 M MACs."""
    b = Builder("alexnet", (227, 227, 3), CAFFE)
    b.conv("conv1", 96, 11, stride=4, padding=0, bias=True)
    b.relu("relu1")
    b.response_norm("norm1")
    _pool(b, "pool1")
    b.conv("conv2", 256, 5, groups=2, bias=True)
    b.relu("relu2")
    b.response_norm("norm2")
    _pool(b, "pool2")
    for name, K, groups in (("3", 384, 1), ("4", 384, 2), ("5", 256, 2)):
        b.conv(f"conv{name}", K, 3, groups=groups, bias=True)
        b.relu(f"relu{name}")
    _pool(b, "pool5")
    return _classifier(b, 256 * 6 * 6, ("fc6", "fc7", "fc8"))


def alexnet_torchvision() -> Graph:
    """AlexNet without groups (Krizhevsky, One weird trick, 2014) with torchvision's names: 714.19 M MACs."""
    b = Builder("alexnet-torchvision", (224, 224, 3), IMAGENET)
    b.conv("features.0", 64, 11, stride=4, padding=2, bias=True)
    b.relu("features.1")
    _pool(b, "features.2")
    b.conv("features.3", 192, 5, bias=True)
    b.relu("features.4")
    _pool(b, "features.5")
    for index, K in ((6, 384), (8, 256), (10, 256)):
        b.conv(f"features.{index}", K, 3, bias=True)
        b.relu(f"features.{index + 1}")
    _pool(b, "features.12")
    return _classifier(b, 256 * 6 * 6, ("classifier.1", "classifier.4", "classifier.6"))


def vgg16() -> Graph:
    """VGG-16 (Simonyan & Zisserman, ICLR 2015, configuration D) with torchvision's names: 15470.26 M MACs."""
    b = Builder("vgg16", (224, 224, 3), IMAGENET)
    index = 0
    for K, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convs):
            b.conv(f"features.{index}", K, 3, bias=True)
            b.relu(f"features.{index + 1}")
            index += 2
        _pool(b, f"features.{index}", kernel=2)
        index += 1
    return _classifier(b, 512 * 7 * 7, ("classifier.0", "classifier.3", "classifier.6"))


def squeezenet11() -> Graph:
    """SqueezeNet 1.1 (Iandola et al. 2016) with the names of the Caffe release: 349.15 M MACs, 1.24 M parameters."""
    b = Builder("squeezenet11", (224, 224, 3), CAFFE)
    b.conv("conv1", 64, 3, stride=2, padding=0, bias=True)
    b.relu("relu_conv1")
    _pool(b, "pool1", ceil=True)
    for fire, squeeze, expand in (
        (2, 16, 64),
        (3, 16, 64),
        (4, 32, 128),
        (5, 32, 128),
        (6, 48, 192),
        (7, 48, 192),
        (8, 64, 256),
        (9, 64, 256),
    ):
        p = f"fire{fire}"
        b.conv(f"{p}/squeeze1x1", squeeze, 1, bias=True)
        x = b.relu(f"{p}/relu_squeeze1x1")
        b.conv(f"{p}/expand1x1", expand, 1, x, bias=True)
        one = b.relu(f"{p}/relu_expand1x1")
        b.conv(f"{p}/expand3x3", expand, 3, x, bias=True)
        three = b.relu(f"{p}/relu_expand3x3")
        b.add(f"{p}/concat", Concat(), one, three)
        if fire in (3, 5):
            _pool(b, f"pool{fire}", ceil=True)
    b.conv("conv10", 1000, 1, bias=True)
    b.relu("relu_conv10")
    b.add("pool10", GlobalAveragePool())
    b.add("flatten", Flatten())
    return b.graph()


def squeezenet11_torchvision() -> Graph:
    """SqueezeNet 1.1 with torchvision's names and preprocessing; the same layers."""
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, index in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        names[f"fire{fire}/squeeze1x1"] = f"features.{index}.squeeze"
        names |= {f"fire{fire}/expand{k}": f"features.{index}.expand{k}" for k in ("1x1", "3x3")}
    nodes = tuple(
        Node(
            name=names.get(node.name, node.name),
            layer=node.layer,
            inputs=tuple(names.get(i, i) for i in node.inputs),
        )
        for node in squeezenet11().nodes
    )
    return Graph(
        name="squeezenet11-torchvision",
        input_shape=(224, 224, 3),
        nodes=nodes,
        preprocessing=IMAGENET,
    )


# GoogLeNet's inception modules: 1x1, reduction and 3x3, reduction and 5x5, projection (Szegedy et
# al., table 1).
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet() -> Graph:
    """GoogLeNet (Szegedy et al., CVPR 2015) without its auxiliary classifiers, names of the Caffe release."""
    b = Builder("googlenet", (224, 224, 3), CAFFE)

    def conv(name: str, K: int, kernel: int, source: str | None = None, stride: int = 1) -> str:
        b.conv(name, K, kernel, source, stride=stride, bias=True)
        return b.relu(f"{name}.relu")

    conv("conv1/7x7_s2", 64, 7, stride=2)
    _pool(b, "pool1/3x3_s2", ceil=True)
    b.response_norm("pool1/norm1")
    conv("conv2/3x3_reduce", 64, 1)
    conv("conv2/3x3", 192, 3)
    b.response_norm("conv2/norm2")
    x = _pool(b, "pool2/3x3_s2", ceil=True)
    for module, (one, reduce3, three, reduce5, five, projection) in INCEPTION.items():
        p = f"inception_{module}"
        branches = [conv(f"{p}/1x1", one, 1, x)]
        conv(f"{p}/3x3_reduce", reduce3, 1, x)
        branches.append(conv(f"{p}/3x3", three, 3))
        conv(f"{p}/5x5_reduce", reduce5, 1, x)
        branches.append(conv(f"{p}/5x5", five, 5))
        b.add(f"{p}/pool", MaxPool(kernel=(3, 3), stride=(1, 1), padding=(1, 1)), x)
        branches.append(conv(f"{p}/pool_proj", projection, 1))
        x = b.add(f"{p}/output", Concat(), *branches)
        if module in ("3b", "4e"):
            x = _pool(b, f"pool{int(module[0])}/3x3_s2", ceil=True)
    b.add("pool5/7x7_s1", GlobalAveragePool())
    b.add("flatten", Flatten())
    b.add("loss3/classifier", Linear(in_features=1024, out_features=1000))
    return b.graph()


def mobilenet_v1() -> Graph:
    """MobileNet (Howard et al. 2017) at width 1 and 224 x 224: 568.74 M MACs, 4.23 M parameters."""
    b = Builder("mobilenet-v1", (224, 224, 3), Preprocessing(scale=127.5, mean=(1.0, 1.0, 1.0)))
    b.conv("conv1", 32, 3, stride=2)
    b.batch_norm("bn1")
    b.relu("relu1")
    widths = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for index, (K, stride) in enumerate(widths, start=1):
        C = b.channels[b.last]
        b.conv(f"block{index}.depthwise", C, 3, stride=stride, groups=C)
        b.batch_norm(f"block{index}.bn1")
        b.relu(f"block{index}.relu1")
        b.conv(f"block{index}.pointwise", K, 1)
        b.batch_norm(f"block{index}.bn2")
        b.relu(f"block{index}.relu2")
    b.add("pool", GlobalAveragePool())
    b.add("flatten", Flatten())
    b.add("fc", Linear(in_features=1024, out_features=1000))
    return b.graph()
