"""Why SCALE-Sim reads what it reads from DRAM: its read buffers replayed, output-stationary.

What it does, inferred from its runs: the array asks for operands in one fixed order, filters outside, output pixels
inside, R S C innermost, every lane a cycle after its neighbour.  A word that its buffer lacks is read into one half;
when the half is full the halves change over and the new one starts empty, so everything read before is read again when
it is asked for again.  A half is 50 sets of a hundredth of the buffer.  Images carry their padding.

``reads`` counts exactly what SCALE-Sim 3.0.0 reports for the layers in reports/peers.json (a row of the validation
table), so the difference to our traffic is this order and this forgetting, and nothing else.
"""

from collections.abc import Iterable

import numpy as np

from accelsim.arrays import Ints
from accelsim.workload import LayerWork

SETS = 100
SETS_IN_HALF = 50


def padded_words(work: LayerWork) -> int:
    """Words of the image with its padding, as far as outputs reach."""
    (R, S), stride = work.kernel, work.stride[0]
    return work.in_channels * ((work.out_height - 1) * stride + R) * ((work.out_width - 1) * stride + S)


def reads(work: LayerWork, rows: int, cols: int, input_kb: int, weight_kb: int) -> tuple[int, int]:
    """Words of inputs and of weights that SCALE-Sim reads from DRAM on a rows x cols array."""
    R, S = work.kernel
    stride = work.stride[0]
    C = work.in_channels
    K = work.out_channels
    pixels = work.out_height * work.out_width
    line = ((work.out_width - 1) * stride + S) * C
    down, right = np.divmod(np.arange(pixels), work.out_width)
    corner = down * stride * line + right * stride * C  # of the window of each output pixel
    r, rest = np.divmod(np.arange(R * S * C), S * C)
    window = (r * line + rest)[:, None]
    filters = range(0, K, cols)
    inputs = (_asked(corner[p : p + rows] + window) for _ in filters for p in range(0, pixels, rows))
    inside = np.arange(R * S * C)[:, None]
    weights = (
        _asked(np.arange(k, min(k + cols, K)) * R * S * C + inside) for k in filters for _ in range(0, pixels, rows)
    )
    return (
        _misses(inputs, padded_words(work), SETS_IN_HALF * (1024 * input_kb // SETS)),
        _misses(weights, K * R * S * C, SETS_IN_HALF * (1024 * weight_kb // SETS)),
    )


def _asked(addresses: Ints) -> Ints:
    """(steps, lanes) addresses in the order in which a skewed array asks for them."""
    step, lane = np.indices(addresses.shape)
    return np.asarray(addresses.ravel()[np.lexsort((lane.ravel(), (step + lane).ravel()))])


def _misses(folds: Iterable[Ints], words: int, half: int) -> int:
    """Words that are read because the half in use lacks them.

    folds: the addresses asked for, fold by fold.  words: of the whole operand.  half: words of half a buffer.
    """
    held = np.zeros(words, bool)
    count = 0
    total = 0
    for asked in folds:
        while asked.size:
            first = np.sort(np.unique(asked, return_index=True)[1])
            taken = first[~held[asked[first]]][: half - count]
            total += taken.size
            count += taken.size
            held[asked[taken]] = True
            if count < half:
                break
            held[:] = False
            count = 0
            asked = asked[taken[-1] + 1 :]
    return total
