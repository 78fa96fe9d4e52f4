"""Adaptive bit prediction: several contexts each keep their own statistics, and a learned mixture predicts the bit.

For a bit with contexts c_1..c_I, each table entry holds the counts n_0, n_1 of zeros and ones seen in that context, and

    x_i = ln((n_1 + a) / (n_0 + a)),     p = 1 / (1 + exp(-(w . x + w_0)))

(logistic mixing, Mahoney 2005).  Bits come in batches, predicted together and learned from together, so the work is
array work.  After a batch the weights take one damped Newton step on the coding cost, with the curvature of earlier
batches remembered; counts are halved beyond a limit, so that old statistics fade.

Encoder and decoder must agree to the last bit on every machine.  So logits are whole multiples of 1/256, weights of
2^-16, probabilities of 2^-16: sums of products stay below 2^53 and are exact in float64 in any order of summation, and
what cannot be exact (the Newton step) is done in plain Python floats, one operation after the other.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

UNIT = 256  # steps of a logit
LOGIT_RANGE = 12 * UNIT
COUNT_BITS = 10  # of the largest sum of both counts
COUNT_OFFSET = 0.4  # a
ONE_BITS = 32  # both counts are kept in one integer
ONE = 1 << ONE_BITS
WEIGHT_UNIT = 1 << 16
FIRST_WEIGHT = 0.3
DECAY = 0.998  # of the remembered curvature, a batch
DAMPING = 40.0
LARGEST_STEP = 0.3  # of a weight, a batch

_LOG = np.array([round(UNIT * math.log(n + COUNT_OFFSET)) for n in range(1 << COUNT_BITS)], np.float32)
_PROBABILITY = np.array(
    [min(65528, max(8, round(65536 / (1 + math.exp(-x / UNIT))))) for x in range(-LOGIT_RANGE, LOGIT_RANGE + 1)],
    np.int64,
)


class BitModel:
    """Predicts bits from ``len(sizes)`` contexts; context i is an index below sizes[i].

    sets: independent mixing weights, chosen by the caller for each batch.  bias: the first w_0.
    """

    def __init__(self, sizes: Sequence[int], sets: int = 1, bias: float = 0.0) -> None:
        self._starts = [0, *itertools.accumulate(sizes)]
        self._inputs = len(sizes)
        self._counts = np.zeros(self._starts[-1], np.int64)  # of each entry: zeros + ONE ones
        self._weights = [[FIRST_WEIGHT] * self._inputs + [bias] for _ in range(sets)]
        self._curvature = [np.zeros((self._inputs + 1, self._inputs + 1)) for _ in range(sets)]

    def forget(self, i: int) -> None:
        """Clear the statistics of context i."""
        self._counts[self._starts[i] : self._starts[i + 1]] = 0

    def predict(self, contexts: Sequence[Index | int], shape: tuple[int, ...], k: int = 0) -> Index:
        """Probability of a one for each bit of a batch of a shape, in 1/65536 and flat, by the weights of set k.

        contexts: I arrays of indices that broadcast to the shape.
        """
        entries = np.empty((self._inputs, *shape), np.int64)
        for row, context, start in zip(entries, contexts, self._starts, strict=False):
            np.add(context, start, out=row)
        entries = entries.reshape(self._inputs, -1)
        zeros, ones = self._seen(entries)
        x = np.empty((self._inputs + 1, entries.shape[1]))
        np.subtract(_LOG.take(ones), _LOG.take(zeros), out=x[:-1])
        x[-1] = UNIT
        weights = np.array([round(w * WEIGHT_UNIT) for w in self._weights[k]], np.float64)
        logit = weights @ x
        logit *= 1 / WEIGHT_UNIT
        np.rint(logit, out=logit)
        np.minimum(logit, LOGIT_RANGE, out=logit)
        np.maximum(logit, -LOGIT_RANGE, out=logit)
        logit += LOGIT_RANGE
        probability = _PROBABILITY.take(logit.astype(np.int64))
        self._batch = (entries, x, probability, k)
        return probability

    def _seen(self, entries: Index) -> tuple[Index, Index]:
        """Zeros and ones of each entry; counts that have grown beyond the limit are halved as often as it takes."""
        both = self._counts.take(entries)
        zeros, ones = both & (ONE - 1), both >> ONE_BITS
        total = zeros + ones
        if total.max() >= 1 << COUNT_BITS:
            over = total >= 1 << COUNT_BITS
            shift = np.frexp(total[over].astype(np.float64))[1] - COUNT_BITS
            zeros[over] >>= shift
            ones[over] >>= shift
            self._counts[entries[over]] = zeros[over] + (ones[over] << ONE_BITS)
        return zeros, ones

    def learn(self, bits: Bits) -> None:
        """Take in the bits of the batch that ``predict`` was last asked about."""
        entries, x, probability, k = self._batch
        self._step(x, bits, probability, k)
        seen = np.where(bits, ONE, 1)
        for row in entries:
            np.add.at(self._counts, row, seen)

    def _step(self, x: NDArray[np.float64], bits: Bits, probability: Index, k: int) -> None:
        """One damped Newton step of the weights of set k on the cost of the batch."""
        error = bits * 65536.0 - probability
        variance = (probability * (65536 - probability)) >> 20  # in 2^-12
        gradient = (x @ error).tolist()
        self._curvature[k] = self._curvature[k] * DECAY + (x * variance) @ x.T
        matrix = (self._curvature[k] * (1 / (UNIT * UNIT * 4096))).tolist()
        for i, row in enumerate(matrix):
            row[i] += DAMPING
        step = _solve(matrix, [g / (UNIT * 65536) for g in gradient])
        weights = self._weights[k]
        for i, s in enumerate(step):
            weights[i] += min(LARGEST_STEP, max(-LARGEST_STEP, s))


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x of matrix x = right, for a positive definite matrix: Gaussian elimination, always in the same order."""
    n = len(right)
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    for i in range(n):
        pivot = rows[i]
        for j in range(i + 1, n):
            factor = rows[j][i] / pivot[i]
            rows[j] = [a - factor * b for a, b in zip(rows[j], pivot, strict=True)]
    x = [0.0] * n
    for i in reversed(range(n)):
        known = 0.0
        for j in range(i + 1, n):
            known += rows[i][j] * x[j]
        x[i] = (rows[i][n] - known) / rows[i][i]
    return x
