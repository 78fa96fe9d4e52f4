"""What a layer of a CNN can be.

One frozen, validated record a kind, each with its shape rule and its parameters.

Shapes are without the batch: (H, W, C) for images, (F,) for vectors.  Parameters follow PyTorch's
names and layouts: a convolution's weight is (K, C / groups, R, S), a linear layer's (K, C).  Layers
without weights that act on tensors of any shape are in ``tensors``.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from accelsim.network.record import LayerRecord, Padding, Shape, Size, image, only, with_channels
from accelsim.network.tensors import Finite, TensorLayer


class Conv(LayerRecord):
    """2-D correlation with zero padding."""

    op: Literal["conv"] = "conv"
    in_channels: Size
    out_channels: Size
    kernel: tuple[Size, Size]
    stride: tuple[Size, Size] = (1, 1)
    padding: tuple[Padding, Padding] = (0, 0)
    dilation: tuple[Size, Size] = (1, 1)
    groups: Size = 1
    bias: bool = False

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        H, W, C = image(only(inputs))
        if C != self.in_channels:
            raise ValueError(f"expected {self.in_channels} input channels, got {C}")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {self.in_channels} -> {self.out_channels} channels")
        size = _window((H, W), self.kernel, self.stride, self.padding, self.dilation)
        return (*size, self.out_channels)

    def parameters(self) -> dict[str, Shape]:
        weight = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}


class Linear(LayerRecord):
    """A fully connected layer."""

    op: Literal["linear"] = "linear"
    in_features: Size
    out_features: Size
    bias: bool = True

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        shape = only(inputs)
        if shape != (self.in_features,):
            raise ValueError(f"expected ({self.in_features},), got {shape}")
        return (self.out_features,)

    def parameters(self) -> dict[str, Shape]:
        weight = (self.out_features, self.in_features)
        return {"weight": weight, "bias": (self.out_features,)} if self.bias else {"weight": weight}


class BatchNorm(LayerRecord):
    """Batch normalisation over the channels, by the running statistics in inference."""

    op: Literal["batch_norm"] = "batch_norm"
    channels: Size
    eps: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return with_channels(only(inputs), self.channels)

    def parameters(self) -> dict[str, Shape]:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (self.channels,))


class Affine(LayerRecord):
    """A scale and a shift for each channel.

    What batch normalisation becomes once its statistics are fixed.
    """

    op: Literal["affine"] = "affine"
    channels: Size

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return with_channels(only(inputs), self.channels)

    def parameters(self) -> dict[str, Shape]:
        return {"weight": (self.channels,), "bias": (self.channels,)}


class Relu(LayerRecord):
    """The rectifier, max(x, 0)."""

    op: Literal["relu"] = "relu"


class Clip(LayerRecord):
    """min(max(x, low), high), either bound left out if None (ReLU6 is 0 to 6)."""

    op: Literal["clip"] = "clip"
    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Clip":
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"clip from {self.low:g} to {self.high:g}, expected the larger number last")
        return self


class _Pool(LayerRecord):
    kernel: tuple[Size, Size]
    stride: tuple[Size, Size]
    padding: tuple[Padding, Padding] = (0, 0)
    ceil_mode: bool = False

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        H, W, C = image(only(inputs))
        if any(p > k // 2 for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ValueError(f"padding {self.padding} is over half the {self.kernel} window")
        return (*_window((H, W), self.kernel, self.stride, self.padding, (1, 1), self.ceil_mode), C)


class MaxPool(_Pool):
    """Largest of each window; a 1 x 1 window with a stride subsamples."""

    op: Literal["max_pool"] = "max_pool"


class AveragePool(_Pool):
    """Mean of each window, padding counted as zeros unless ``count_padding`` is false.

    The overhang of ``ceil_mode`` is not counted.
    """

    op: Literal["average_pool"] = "average_pool"
    count_padding: bool = True

    def counts(self, size: tuple[int, int]) -> tuple[list[int], list[int]]:
        """How many rows and columns of each window are counted.  size: (H, W) of the image."""
        P, Q, _ = self.output_shape(((*size, 1),))
        found = []
        for out, x, k, s, p in zip((P, Q), size, self.kernel, self.stride, self.padding, strict=True):
            beyond = p if self.count_padding else 0
            found.append([min(i * s - p + k, x + beyond) - max(i * s - p, -beyond) for i in range(out)])
        return found[0], found[1]


class GlobalAveragePool(LayerRecord):
    """Mean over the whole image: (H, W, C) -> (1, 1, C)."""

    op: Literal["global_average_pool"] = "global_average_pool"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (1, 1, image(only(inputs))[2])


class LocalResponseNorm(LayerRecord):
    """x / (k + alpha / size * sum of squares over ``size`` neighbouring channels)^beta (AlexNet)."""

    op: Literal["local_response_norm"] = "local_response_norm"
    size: Size = 5
    alpha: Finite = 1e-4
    beta: Finite = 0.75
    k: Finite = 1.0

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return image(only(inputs))


class Add(LayerRecord):
    """Element-wise sum of two or more."""

    op: Literal["add"] = "add"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs) < 2 or len(set(inputs)) > 1:
            raise ValueError(f"expected two or more inputs of one shape, got {list(inputs)}")
        return inputs[0]


class Concat(LayerRecord):
    """Channels of the inputs, one after the other."""

    op: Literal["concat"] = "concat"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        images = [image(shape) for shape in inputs]
        if not images or len({sizes[:2] for sizes in images}) > 1:
            raise ValueError(f"expected images of one height and width, got {list(inputs)}")
        return (*images[0][:2], sum(sizes[2] for sizes in images))


class PadChannels(LayerRecord):
    """Zero channels before and after (the parameter-free shortcut of the CIFAR ResNets)."""

    op: Literal["pad_channels"] = "pad_channels"
    before: Padding = 0
    after: Padding = 0

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        H, W, C = image(only(inputs))
        return (H, W, self.before + C + self.after)


class PadImage(LayerRecord):
    """Zero rows and columns around the image, where they differ from side to side (else the layer behind has them)."""

    op: Literal["pad_image"] = "pad_image"
    before: tuple[Padding, Padding] = (0, 0)
    after: tuple[Padding, Padding] = (0, 0)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        H, W, C = image(only(inputs))
        return (self.before[0] + H + self.after[0], self.before[1] + W + self.after[1], C)


class Flatten(LayerRecord):
    """(H, W, C) -> (C H W,), channels first, so that PyTorch's and ONNX's weights fit the next linear layer."""

    op: Literal["flatten"] = "flatten"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        H, W, C = image(only(inputs))
        return (C * H * W,)


Layer = Annotated[
    Conv
    | Linear
    | BatchNorm
    | Affine
    | Relu
    | Clip
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | LocalResponseNorm
    | Add
    | Concat
    | PadChannels
    | PadImage
    | Flatten
    | TensorLayer,
    Field(discriminator="op"),
]


def _window(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    ceil_mode: bool = False,
) -> tuple[int, int]:
    """Output height and width of a sliding window (PyTorch's rule, also for ``ceil_mode``)."""
    outputs = []
    for x, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        span = x + 2 * p - d * (k - 1) - 1
        if span < 0:
            raise ValueError(f"a {size} image padded by {padding} is smaller than the {kernel} window")
        out = -(-span // s) + 1 if ceil_mode else span // s + 1
        if ceil_mode and (out - 1) * s >= x + p:  # the last window must start inside the image
            out -= 1
        outputs.append(out)
    return outputs[0], outputs[1]
