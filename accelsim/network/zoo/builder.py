"""Writing a network down layer by layer: names, channels and inputs are carried along."""

from accelsim.network.graph import INPUT, Graph, Node, Preprocessing
from accelsim.network.layers import (
    BatchNorm,
    Concat,
    Conv,
    Layer,
    Linear,
    LocalResponseNorm,
    PadChannels,
    Relu,
)

IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class Builder:
    """Collects nodes; every method adds one and returns its name, and reads the last node unless told otherwise."""

    def __init__(
        self,
        name: str,
        input_shape: tuple[int, int, int],
        preprocessing: Preprocessing = IMAGENET,
    ) -> None:
        self.name = name
        self.input_shape = input_shape
        self.preprocessing = preprocessing
        self.nodes: list[Node] = []
        self.channels = {INPUT: input_shape[2]}

    @property
    def last(self) -> str:
        """The name of the node added last, or of the input."""
        return self.nodes[-1].name if self.nodes else INPUT

    def add(self, name: str, layer: Layer, *inputs: str) -> str:
        """A node of any kind."""
        sources = inputs or (self.last,)
        self.nodes.append(Node(name=name, layer=layer, inputs=sources))
        match layer:
            case Conv():
                self.channels[name] = layer.out_channels
            case Linear():
                self.channels[name] = layer.out_features
            case Concat():
                self.channels[name] = sum(self.channels[source] for source in sources)
            case PadChannels():
                self.channels[name] = layer.before + self.channels[sources[0]] + layer.after
            case _:
                self.channels[name] = self.channels[sources[0]]
        return name

    def conv(
        self,
        name: str,
        out_channels: int,
        kernel: int,
        source: str | None = None,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """A square convolution.

        Padded to keep the image's size at stride 1 unless told otherwise.
        """
        pad = kernel // 2 if padding is None else padding
        source = source or self.last
        layer = Conv(
            in_channels=self.channels[source],
            out_channels=out_channels,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(pad, pad),
            groups=groups,
            bias=bias,
        )
        return self.add(name, layer, source)

    def batch_norm(self, name: str) -> str:
        """Batch normalisation of the last node."""
        return self.add(name, BatchNorm(channels=self.channels[self.last]))

    def relu(self, name: str) -> str:
        """ReLU of the last node."""
        return self.add(name, Relu())

    def response_norm(self, name: str) -> str:
        """Local response normalisation with the constants of AlexNet and GoogLeNet in Caffe."""
        return self.add(name, LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0))

    def graph(self) -> Graph:
        """The network so far, checked."""
        return Graph(
            name=self.name,
            input_shape=self.input_shape,
            nodes=tuple(self.nodes),
            preprocessing=self.preprocessing,
        )
