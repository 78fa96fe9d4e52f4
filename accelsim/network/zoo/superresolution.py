"""Super-resolution: stacks of convolutions on the luma of a bicubically enlarged image, at the image's own size."""

from accelsim.network.graph import INPUT, Graph, Preprocessing
from accelsim.network.layers import Add
from accelsim.network.zoo.builder import Builder

LUMA = Preprocessing()


def ct_srcnn9() -> Graph:
    """CT-SRCNN with nine layers (Ren et al., WACV 2018; widths from arXiv:1902.08192): 233.24 G MACs at 1920 x 1080."""
    b = Builder("ct-srcnn9", (1080, 1920, 1), LUMA)
    for index, (K, kernel) in enumerate(((64, 9), (32, 5), *((32, 3),) * 6, (1, 5)), start=1):
        b.conv(f"conv{index}", K, kernel, bias=True)
        if K > 1:
            b.relu(f"relu{index}")
    return b.graph()


def vdsr() -> Graph:
    """VDSR (Kim et al., CVPR 2016): twenty 3 x 3 convolutions without bias, added to the input; here for 256 x 256."""
    b = Builder("vdsr", (256, 256, 1), LUMA)
    for index in range(20):
        b.conv(f"conv{index:02d}", 64 if index < 19 else 1, 3)
        if index < 19:
            b.relu(f"relu{index:02d}")
    b.add("add", Add(), b.last, INPUT)
    return b.graph()
