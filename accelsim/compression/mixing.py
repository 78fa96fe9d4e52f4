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
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._inputs = len(sizes)
        self._counts = np.zeros(2 * self._starts[-1], np.int32)  # zeros and ones of each entry, side by side
        self._logits = np.zeros(self._starts[-1], np.float32)
        self._weights = [[FIRST_WEIGHT] * self._inputs + [bias] for _ in range(sets)]
        self._curvature = [np.zeros((self._inputs + 1, self._inputs + 1)) for _ in range(sets)]

    def forget(self, i: int) -> None:
        """Clear the statistics of context i."""
        first, last = self._starts[i], self._starts[i + 1]
        self._counts[2 * first : 2 * last] = 0
        self._logits[first:last] = 0

    def predict(self, contexts: Sequence[Index], k: int = 0) -> Index:
        """Probability of a one for each bit of a batch, in 1/65536, by the weights of set k.

        contexts: I arrays (n,) of indices.
        """
        n = contexts[0].size
        entries = np.empty((self._inputs, n), np.int64)
        for row, context, start in zip(entries, contexts, self._starts[:-1], strict=True):
            np.add(context, start, out=row)
        x = np.empty((self._inputs + 1, n))
        x[:-1] = self._logits[entries]
        x[-1] = UNIT
        weights = np.array([round(w * WEIGHT_UNIT) for w in self._weights[k]], np.float64)
        logit = np.rint(weights @ x * (1 / WEIGHT_UNIT)).clip(-LOGIT_RANGE, LOGIT_RANGE).astype(np.int64)
        probability = _PROBABILITY[logit + LOGIT_RANGE]
        self._batch = (entries, x, probability, k)
        return probability

    def learn(self, bits: Bits) -> None:
        """Take in the bits of the batch that ``predict`` was last asked about."""
        entries, x, probability, k = self._batch
        self._step(x, bits, probability, k)
        where = entries.ravel()
        zeros = 2 * where
        np.add.at(self._counts, (2 * entries + bits).ravel(), np.int32(1))
        n_0, n_1 = self._counts[zeros], self._counts[zeros + 1]
        over = np.flatnonzero(n_0 + n_1 >= 1 << COUNT_BITS)
        if over.size:  # halve as often as it takes
            shift = np.frexp((n_0[over] + n_1[over]).astype(np.float64))[1].astype(np.int32) - COUNT_BITS
            n_0[over] >>= shift
            n_1[over] >>= shift
            self._counts[zeros[over]] = n_0[over]
            self._counts[zeros[over] + 1] = n_1[over]
        self._logits[where] = _LOG[n_1] - _LOG[n_0]

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
