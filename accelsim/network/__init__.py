"""The CNN: a graph of layers, its shapes, its forward pass, the zoo, import and export."""

from accelsim.network.forward import forward
from accelsim.network.graph import INPUT, Graph, Network, Node

__all__ = ["INPUT", "Graph", "Network", "Node", "forward"]
