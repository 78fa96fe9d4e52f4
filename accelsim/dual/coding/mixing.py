"""Adaptive bit prediction.

Several contexts each keep their own statistics, and a learned mixture predicts the bit.

For a bit with contexts c_1..c_I, each table entry holds the counts n_0, n_1 of zeros and ones seen
in that context, and

    x_i = ln((n_1 + a) / (n_0 + a)),     p = 1 / (1 + exp(-(w . x + w_0)))

(logistic mixing, Mahoney 2005).  Bits come in batches, predicted together and learned from
together, so the work is array work.  After a batch the weights take one damped Newton step on the
coding cost, with the curvature of earlier batches remembered; counts are halved beyond a limit, so
that old statistics fade.

Encoder and decoder must agree to the last bit on every machine.  So logits are whole multiples of
1/256, weights of 2^-16, probabilities of 2^-16: sums of products stay below 2^53 and are exact in
float64 in any order of summation, and what cannot be exact (the Newton step) is done in plain
Python floats, one operation after the other.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from accelsim.arrays import Flags, Ints

Context = tuple[int, Ints | int]

UNIT = 256  # steps of a logit
LOGIT_RANGE = 12 * UNIT
COUNT_BITS = 10  # of the largest sum of both counts
COUNT_OFFSET = 0.4  # a
ONE_BITS = 32  # both counts are kept in one integer
ONE = 1 << ONE_BITS
NARROW = 4096  # columns of a table
WEIGHT_UNIT = 1 << 16
FIRST_WEIGHT = 0.3
DECAY = 0.998  # of the remembered curvature, a batch
DAMPING = 40.0
LARGEST_STEP = 0.3  # of a weight, a batch
CURVATURE_UNIT = 1 / (UNIT * UNIT * 4096)

_LOG = np.array([round(UNIT * math.log(n + COUNT_OFFSET)) for n in range(1 << COUNT_BITS)], np.float64)
# Of each prediction, the logits -LOGIT_RANGE..LOGIT_RANGE in order.
PROBABILITY = np.array(
    [min(65528, max(8, round(65536 / (1 + math.exp(-x / UNIT))))) for x in range(-LOGIT_RANGE, LOGIT_RANGE + 1)],
    np.float64,
)  # of a one, in 1/65536
EVEN = LOGIT_RANGE  # the prediction that is 1/2
_VARIANCE = np.floor(PROBABILITY * (65536 - PROBABILITY) * 2.0**-20)  # in 2^-12


class BitModel:
    """Predicts bits from ``len(tables)`` contexts.

    Context i is a row and a column of a table of tables[i] entries.

    A batch has one row of each table, and each of its bits a column.  Rows of up to ``NARROW``
    columns are updated as a whole, which costs less than bit by bit; at most one table is wider.
    sets: independent mixing weights, chosen by the caller for each batch.  bias: the first w_0.
    """

    def __init__(self, tables: Sequence[tuple[int, int]], sets: int = 1, bias: float = 0.0) -> None:
        self._starts = [0, *itertools.accumulate(rows * columns for rows, columns in tables)]
        self._columns = [columns for _, columns in tables]
        self._wide = next((i for i, columns in enumerate(self._columns) if columns > NARROW), None)
        narrow = [0 if columns > NARROW else columns for columns in self._columns]
        # of the rows of a batch, one after the other
        self._offsets = [0, *itertools.accumulate(narrow)]
        self._counts = np.zeros(self._starts[-1], np.int64)  # of each entry: zeros + ONE ones
        self._windows: dict[tuple[int, ...], Ints] = {}
        size = len(tables) + 1
        self._weights = [[FIRST_WEIGHT] * len(tables) + [bias] for _ in range(sets)]
        self._curvature = [[[0.0] * size for _ in range(size)] for _ in range(sets)]

    def forget(self, i: int) -> None:
        """Clear the statistics of context i."""
        self._counts[self._starts[i] : self._starts[i + 1]] = 0

    def predict(self, contexts: Sequence[Context], shape: tuple[int, ...], k: int = 0) -> Ints:
        """Predictions (places in ``PROBABILITY``) of the bits of a batch, flat.

        They are weighed by set k.

        contexts: I pairs of a row and of columns that broadcast to the shape.
        """
        inputs = len(self._columns)
        wide = self._wide
        slots = np.empty((inputs, *shape), np.int64)  # of each bit, among the entries
        for slot, (_, column), offset in zip(slots, contexts, self._offsets, strict=False):
            np.add(column, offset, out=slot)
        slots = slots.reshape(inputs, -1)
        entries = self._window(tuple(row for row, _ in contexts))
        if wide is not None:  # its entries follow, one for each bit
            first = self._starts[wide] + contexts[wide][0] * self._columns[wide] - self._offsets[wide]
            narrow = len(entries)
            entries = np.concatenate([entries, slots[wide] + first])
            slots[wide] = np.arange(narrow, len(entries))
        seen = self._counts.take(entries)
        zeros = seen & (ONE - 1)
        ones = seen >> ONE_BITS
        total = zeros + ones
        if total.max() >= 1 << COUNT_BITS:
            self._halve(entries, seen, zeros, ones, total)
        x = np.empty((inputs + 1, slots.shape[1]))
        (_LOG.take(ones) - _LOG.take(zeros)).take(slots, out=x[:-1], mode="clip")
        x[-1] = UNIT
        logit = np.array(_in_steps(self._weights[k])) @ x
        prediction: Ints = np.rint(logit, out=logit).astype(np.int64)
        prediction += LOGIT_RANGE
        np.maximum(prediction, 0, out=prediction)
        np.minimum(prediction, 2 * LOGIT_RANGE, out=prediction)
        self._batch = (entries, seen, slots, x, prediction, k)
        return prediction

    def predict_alike(self, rows: Sequence[int], k: int = 0) -> int:
        """``predict`` of bits that all have the same contexts, rows of tables of one column: one for all of them."""
        entries = [start + row for start, row in zip(self._starts, rows, strict=False)]
        seen = []
        x = []
        for entry in entries:
            counts = int(self._counts[entry])
            zeros = counts & (ONE - 1)
            ones = counts >> ONE_BITS
            shift = max(0, (zeros + ones).bit_length() - COUNT_BITS)  # as ``_halve``
            zeros >>= shift
            ones >>= shift
            seen.append(zeros + (ones << ONE_BITS))
            x.append(float(_LOG[ones] - _LOG[zeros]))
        x.append(float(UNIT))
        logit = sum(w * value for w, value in zip(_in_steps(self._weights[k]), x, strict=True))
        prediction = min(2 * LOGIT_RANGE, max(0, round(logit) + LOGIT_RANGE))
        self._alike = (entries, seen, x, prediction, k)
        return prediction

    def learn_alike(self, count: int, ones: int) -> None:
        """Take in ``count`` bits, of which so many ones, that ``predict_alike`` was last asked about.

        Sums over them are exact, as in ``learn``: both come to the same.
        """
        entries, seen, x, prediction, k = self._alike
        for entry, counts in zip(entries, seen, strict=True):
            self._counts[entry] = counts + count - ones + (ones << ONE_BITS)
        error = 65536.0 * ones - float(PROBABILITY[prediction]) * count
        variance = float(_VARIANCE[prediction]) * count
        self._step([[a * variance * b for b in x] for a in x], [a * error for a in x], k)

    def _window(self, rows: tuple[int, ...]) -> Ints:
        """The entries of these rows of the narrow tables, one after the other."""
        if rows not in self._windows:
            parts = [
                np.arange(start + row * columns, start + (row + 1) * columns)
                for row, start, columns in zip(rows, self._starts, self._columns, strict=False)
                if columns <= NARROW
            ]
            self._windows[rows] = np.concatenate(parts)
        return self._windows[rows]

    def _halve(self, entries: Ints, seen: Ints, zeros: Ints, ones: Ints, total: Ints) -> None:
        """Halve, in place, what has grown beyond the limit as often as it takes."""
        over = np.flatnonzero(total >= 1 << COUNT_BITS)
        shift = np.frexp(total.take(over).astype(np.float64))[1] - COUNT_BITS
        zeros[over] = fewer_zeros = zeros.take(over) >> shift
        ones[over] = fewer_ones = ones.take(over) >> shift
        seen[over] = self._counts[entries.take(over)] = fewer_zeros + (fewer_ones << ONE_BITS)

    def learn(self, bits: Flags) -> None:
        """Take in the bits of the batch that ``predict`` was last asked about."""
        entries, seen, slots, x, prediction, k = self._batch
        narrow = self._offsets[-1]
        error = bits * 65536.0 - PROBABILITY.take(prediction)
        self._step(((x * _VARIANCE.take(prediction)) @ x.T).tolist(), (x @ error).tolist(), k)
        slots += slots
        slots += bits
        counted = np.bincount(slots.ravel(), minlength=2 * narrow)
        self._counts[entries[:narrow]] = seen[:narrow] + (
            counted[0 : 2 * narrow : 2] + (counted[1 : 2 * narrow : 2] << ONE_BITS)
        )
        if self._wide is not None:
            np.add.at(self._counts, entries[narrow:], np.where(bits, ONE, 1))

    def _step(self, of_batch: Sequence[Sequence[float]], slope: Sequence[float], k: int) -> None:
        """One damped Newton step of the weights of set k on the cost of the batch.

        of_batch: its curvature, (I + 1, I + 1).  slope: of its cost, (I + 1,).
        """
        known = self._curvature[k]
        self._curvature[k] = [
            [a * DECAY + b for a, b in zip(row, more, strict=True)] for row, more in zip(known, of_batch, strict=True)
        ]
        matrix = [[a * CURVATURE_UNIT for a in row] for row in self._curvature[k]]
        for i, row in enumerate(matrix):
            row[i] += DAMPING
        step = _solve(matrix, [a / (UNIT * 65536) for a in slope])
        steps = [min(LARGEST_STEP, max(-LARGEST_STEP, s)) for s in step]
        self._weights[k] = [w + s for w, s in zip(self._weights[k], steps, strict=True)]


def _in_steps(weights: Sequence[float]) -> list[float]:
    """The weights as whole multiples of 1 / ``WEIGHT_UNIT``."""
    return [round(weight * WEIGHT_UNIT) / WEIGHT_UNIT for weight in weights]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x of matrix x = right, for a positive definite matrix.

    Gaussian elimination, always in the same order.
    """
    n = len(right)
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    for i in range(n):
        pivot = rows[i][i]
        tail = rows[i][i + 1 :]
        for row in rows[i + 1 :]:
            factor = row[i] / pivot
            row[i + 1 :] = [a - factor * b for a, b in zip(row[i + 1 :], tail, strict=True)]
    x = [0.0] * n
    for i in reversed(range(n)):
        known = 0.0
        for j in range(i + 1, n):
            known += rows[i][j] * x[j]
        x[i] = (rows[i][n] - known) / rows[i][i]
    return x
