"""One row of a table of layers: a layer's shape and densities, without weights.

A kernel of ``MANY_TAPS`` or more that spans all rows or all columns of its image is the matrix
product that SCALE-Sim's users write that way: its taps become channels, so that machines can cut
it.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

Kind = Literal["conv", "linear", "pool", "add", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MANY_TAPS = 1 << 12


@dataclass(frozen=True)
class TableLayer:
    """One row: a layer's shape, and the share of its weights and of its inputs that are not zero.

    kind: conv, linear, pool, add or other.  height H, width W of the input without padding; a
    linear layer has H = W = 1.  kernel (R, S); padding and stride are the same in both directions,
    unless padding_w and stride_w are others across.  batch: images in one go, times those of the
    run.  inputs: names of the layers, or ``input``, whose outputs it reads, one behind the other or
    added up; None where the table does not say.
    """

    name: str
    kind: Kind
    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: int = 0
    groups: int = 1
    weight_density: float = 1.0
    activation_density: float = 1.0
    stride_w: int | None = None
    padding_w: int | None = None
    dilation: int = 1
    batch: int = 1
    inputs: tuple[str, ...] | None = None

    @property
    def weights(self) -> int:
        """How many weights there are: 0 of a layer that has none."""
        if self.kind not in ("conv", "linear"):
            return 0
        return self.out_channels * self.in_channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def strides(self) -> tuple[int, int]:
        """Strides down and across."""
        return self.stride, self.stride if self.stride_w is None else self.stride_w

    @property
    def paddings(self) -> tuple[int, int]:
        """Padding down and across."""
        return self.padding, self.padding if self.padding_w is None else self.padding_w

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns that the kernel's taps span."""
        return (self.kernel[0] - 1) * self.dilation + 1, (self.kernel[1] - 1) * self.dilation + 1

    @property
    def output_size(self) -> tuple[int, int]:
        """Height P and width Q of the output, rounded down."""
        sizes = zip((self.height, self.width), self.paddings, self.reach, self.strides, strict=True)
        P, Q = ((size + 2 * padding - span) // stride + 1 for size, padding, span, stride in sizes)
        return P, Q


def as_product(layer: TableLayer) -> TableLayer:
    """The layer as 1 x 1 where its large kernel spans the image one way, and is 1 or spans it the other way.

    The values of a row, a column or the whole image become channels; any other layer stays as it
    is.
    """
    R, S = layer.kernel
    H = layer.height
    W = layer.width
    dense = layer.groups == 1 and layer.dilation == 1
    plain = layer.kind == "conv" and layer.paddings == (0, 0) and dense
    if not plain or R * S < MANY_TAPS:
        return layer
    if (R, S) == (H, W):
        whole = replace(layer, height=1, width=1, kernel=(1, 1), stride=1, stride_w=None)
        return replace(whole, in_channels=layer.in_channels * R * S)
    if (R, S) == (1, W):
        return replace(layer, width=1, kernel=(1, 1), stride_w=None, in_channels=layer.in_channels * S)
    if (R, S) == (H, 1):
        across = layer.strides[1]
        turned = replace(layer, height=W, width=1, kernel=(1, 1), stride=across, stride_w=None)
        return replace(turned, in_channels=layer.in_channels * R)
    return layer
