"""A convolution as a sum of smaller ones at stride 1.

So Winograd serves strides and large kernels, too.

Two splits of a kernel dimension of R taps, both exact:

- polyphase (stride s): phase a takes every s-th tap from a on, and every s-th input;
- pieces: at most ``largest`` consecutive taps of a phase.

With both, tap r = start + step j of a piece meets input s p + r - padding = step (p + j) + start -
padding, where the step is the stride: a correlation at stride 1 of the image x[start - padding +
step i].  The outputs of all pieces are added up.  (Polyphase filter banks: Vaidyanathan 1990.
AlexNet's 11 x 11 at stride 4 becomes sixteen kernels up to 3 x 3; ResNet's 3 x 3 at stride 2
becomes 2 x 2, 2 x 1, 1 x 2, 1 x 1: 25 multiplies of F(2, r) for 36.) Left out: a dilation, and
sharing an input transform between pieces.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product


@dataclass(frozen=True)
class KernelPiece:
    """Part of a kernel: taps at equal steps.  All fields are (vertical, horizontal)."""

    start: tuple[int, int]  # the first tap
    step: tuple[int, int]  # from one tap to the next
    size: tuple[int, int]  # taps

    @property
    def window(self) -> tuple[slice, slice]:
        """Which weights of a kernel (..., R, S) the piece has."""
        rows, cols = (
            slice(start, start + step * (size - 1) + 1, step)
            for start, step, size in zip(self.start, self.step, self.size, strict=True)
        )
        return rows, cols


@lru_cache(maxsize=1024)
def pieces(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    largest: int | None = None,
) -> tuple[KernelPiece, ...]:
    """The pieces of a kernel (R, S) at a stride, none over ``largest`` taps a side.

    Every weight is in one piece.  Raises ValueError unless all sizes are positive.
    """
    if min(*kernel, *stride, largest or 1) < 1:
        raise ValueError(f"a kernel {kernel} at stride {stride} in pieces of {largest}: expected positive sizes")
    rows, cols = (_runs(taps, step, largest) for taps, step in zip(kernel, stride, strict=True))
    return tuple(KernelPiece((a, b), stride, (r, s)) for (a, r), (b, s) in product(rows, cols))


def _runs(taps: int, step: int, largest: int | None) -> list[tuple[int, int]]:
    """(First tap, number of taps) of each piece of one dimension.

    Phase by phase, parts nearly equal.
    """
    runs = []
    for phase in range(min(step, taps)):
        count = -(-(taps - phase) // step)
        parts = -(-count // (largest or count))
        edges = [count * part // parts for part in range(parts + 1)]
        runs += [(phase + step * low, high - low) for low, high in pairwise(edges)]
    return runs
