"""The Winograd machine's arithmetic in float32.

Pruned Winograd-domain filters wherever Winograd serves a layer.

Each eligible convolution multiplies W = G w G^T of its decoded filters, zero where |W| <=
threshold, with transformed input tiles, and sums over the channels in the Winograd domain; the
other layers run as they are.  Rounding to the machine's integer widths is left out.
"""

from accelsim.arrays import Array
from accelsim.dual.deploy import winograd_convolution
from accelsim.dual.model import DualModel
from accelsim.network import forward


def run_winograd(
    model: DualModel,
    x: Array,
    *,
    m: int | None = None,
    threshold: float | None = None,
) -> Array:
    """Run the decoded network on x.

    (N, H, W, C) float32, preprocessed -> (N, ...) the last node's output.

    m: the machine's tile size instead of the model's.  threshold: instead of the stored one; 0
    prunes nothing.
    Raises ValueError if m is below 1 or the threshold below 0.
    """
    return forward(model.network, x, convolution=winograd_convolution(model, m=m, threshold=threshold))
