"""Well-known networks as graphs, with the weight names of their published files."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

from accelsim.errors import InputError
from accelsim.network.graph import Graph
from accelsim.network.zoo.classic import (
    alexnet,
    alexnet_torchvision,
    googlenet,
    mobilenet_v1,
    squeezenet11,
    squeezenet11_torchvision,
    vgg16,
)
from accelsim.network.zoo.resnet import resnet18, resnet50, resnet_cifar
from accelsim.network.zoo.superresolution import ct_srcnn9, vdsr

NETWORKS: dict[str, Callable[[], Graph]] = {
    "resnet20-cifar10": partial(resnet_cifar, 20),
    "resnet32-cifar10": partial(resnet_cifar, 32),
    "resnet56-cifar10": partial(resnet_cifar, 56),
    "resnet18": resnet18,
    "resnet18-folded": partial(resnet18, folded=True),
    "resnet18-pooled": partial(resnet18, pooled=True),
    "resnet18-pooled-folded": partial(resnet18, pooled=True, folded=True),
    "resnet50": resnet50,
    "alexnet": alexnet,
    "alexnet-torchvision": alexnet_torchvision,
    "vgg16": vgg16,
    "squeezenet11": squeezenet11,
    "squeezenet11-torchvision": squeezenet11_torchvision,
    "googlenet": googlenet,
    "mobilenet-v1": mobilenet_v1,
    "ct-srcnn9": ct_srcnn9,
    "vdsr": vdsr,
}


def resnet20() -> Graph:
    """The ResNet-20 for CIFAR-10, by He et al."""
    return resnet_cifar(20)


def named_graph(name: str) -> Graph:
    """The network of that name in ``NETWORKS``.  Raises InputError with the nearest name."""
    if name not in NETWORKS:
        near = get_close_matches(name, NETWORKS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise InputError(f"network {name!r} is not known{hint} (expected one of {', '.join(NETWORKS)})")
    return NETWORKS[name]()


__all__ = [
    "NETWORKS",
    "alexnet",
    "alexnet_torchvision",
    "ct_srcnn9",
    "googlenet",
    "mobilenet_v1",
    "named_graph",
    "resnet18",
    "resnet20",
    "resnet50",
    "resnet_cifar",
    "squeezenet11",
    "vdsr",
    "vgg16",
]
