"""The same graph in PyTorch, for comparison: forward, losses' gradients, and time of a training step.

Imported only where PyTorch is installed (``pip install .[peers]``).
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from accelsim.network.graph import INPUT, Graph, Node
from accelsim.network.layers import (
    Add,
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAveragePool,
    Linear,
    LocalResponseNorm,
    MaxPool,
    PadChannels,
    Relu,
)


class Twin(nn.Module):
    """A graph with its arrays as PyTorch parameters of the same names (dots as underscores)."""

    def __init__(self, graph: Graph, arrays: dict[str, np.ndarray]):
        super().__init__()
        self.graph = graph
        for name, array in arrays.items():
            tensor = torch.from_numpy(np.array(array))
            if "running" in name:
                self.register_buffer(name.replace(".", "_"), tensor)
            else:
                self.register_parameter(name.replace(".", "_"), nn.Parameter(tensor))

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    def array(self, name: str) -> torch.Tensor:
        """The parameter, buffer or gradient's owner of that name."""
        return getattr(self, name.replace(".", "_"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, C, H, W) -> the last node's output."""
        values = {INPUT: x}
        for node in self.graph.nodes:
            values[node.name] = self._compute(node, [values[source] for source in node.inputs])
        return values[self.graph.nodes[-1].name]

    def _compute(self, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
        x, layer = inputs[0], node.layer
        own: dict[str, Any] = {key: self.array(f"{node.name}.{key}") for key in layer.parameters()}
        if isinstance(layer, Conv):
            options = (layer.stride, layer.padding, layer.dilation, layer.groups)
            return functional.conv2d(x, own["weight"], own.get("bias"), *options)
        if isinstance(layer, Linear):
            return functional.linear(x, own["weight"], own.get("bias"))
        if isinstance(layer, BatchNorm):
            return functional.batch_norm(
                x, own["running_mean"], own["running_var"], own["weight"], own["bias"], self.training, 0.1, layer.eps
            )
        if isinstance(layer, Relu):
            return functional.relu(x)
        if isinstance(layer, MaxPool):
            if layer.kernel == (1, 1):
                return x[:, :, :: layer.stride[0], :: layer.stride[1]]
            return functional.max_pool2d(x, layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
        if isinstance(layer, AveragePool):
            return functional.avg_pool2d(x, layer.kernel, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
        if isinstance(layer, GlobalAveragePool):
            return x.mean(dim=(2, 3), keepdim=True)
        if isinstance(layer, LocalResponseNorm):
            return functional.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
        if isinstance(layer, Add):
            return sum(inputs[1:], start=x)
        if isinstance(layer, PadChannels):
            return functional.pad(x, (0, 0, 0, 0, layer.before, layer.after))
        if isinstance(layer, Flatten):
            return x.flatten(1)
        raise TypeError(f"{node.name}: {type(layer).__name__} has no twin")
