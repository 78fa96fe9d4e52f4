"""One layer's weights by least squares, with zeros in both domains.

    minimise  || X w - Y ||^2 + damping |w - w_0|^2     with s_SD of w zero and s_WD of W = G w G^T small

It is one least-squares problem with two copies of the unknown, Z sparse in the spatial domain and V
in the Winograd domain, solved by ADMM (Boyd et al. 2011; for one domain Boza, arXiv:2401.02938):
H = X^T X is inverted once, each iteration solves for w with w pulled to Z and G w G^T to V, and
prunes both to a sparsity that grows.  Then the zeros of Z stay, and conjugate gradients find the
best weights among the others, with the small Winograd entries pulled to zero.  With the zeros of
both domains to be exact the gradients are projected onto the filters that have them
(``zero_patterns``).  Weights are measured in units of their input channel's root mean square, so
what is zeroed costs least in the output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from accelsim.arrays import Array, Flags
from accelsim.errors import NumericalError
from accelsim.sparsity.moments import Moments
from accelsim.sparsity.recipe import Reconstruction
from accelsim.sparsity.zero_patterns import zero_pattern
from accelsim.threads import product

RIDGES = (0.0, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the mean diagonal, tried in turn
SOLVED = 1e-5  # of a filter's right-hand side: what is left of it is rounding


@dataclass(frozen=True)
class LeastSquares:
    """One layer's problem, in units of its input channels' root mean squares.

    What ``sparse_solution`` solves.
    """

    A: Array  # (taps C, taps C) damped
    target: Array  # (taps C, K)
    w_0: Array  # (taps C, K) dense weights
    inverse: Array  # of A with the pulls
    scale: Array  # (C,) the units
    kron: Array  # (n n, taps), vec(W) = kron vec(w); of no rows where Winograd does not serve


def least_squares(
    moments: Moments,
    start: Array,
    kron: Array | None,
    settings: Reconstruction,
) -> LeastSquares:
    """A layer's problem, its matrix inverted: one serves several numbers of zeros.

    start: (taps, C, K) the dense weights.  kron: (n n, taps), or None where Winograd does not
    serve.
    """
    H = moments.H
    taps, C, K = start.shape
    # Of each input channel; of one that never changes, float32 may leave less than nothing once its
    # mean is off.
    scale = np.sqrt(np.maximum(np.diagonal(H).reshape(taps, C).mean(axis=0), 0)) + np.float32(1e-6)
    scale = np.maximum(scale, 1e-3 * scale.max())
    each = np.tile(scale, taps)
    A = H / each[:, None] / each
    damping = np.float32(settings.damping)
    A[np.diag_indices_from(A)] = np.maximum(np.diagonal(A), 0) + damping
    w_0 = (start * scale[:, None]).reshape(-1, K)
    target = moments.B / each[:, None] + damping * w_0
    pull_sd = np.float32(settings.spatial_pull)
    pull_wd = np.float32(settings.winograd_pull)
    if kron is None:
        kron = np.zeros((0, taps), np.float32)
    to_z = pull_sd * np.eye(len(A), dtype=np.float32)
    to_v = pull_wd * np.kron(kron.T @ kron, np.eye(C))
    return LeastSquares(
        A=A,
        target=target,
        w_0=w_0,
        inverse=_inverse(A + to_z + to_v),
        scale=scale,
        kron=kron,
    )


def sparse_solution(
    problem: LeastSquares, zeros: int, small: int, settings: Reconstruction, exact: bool = False
) -> tuple[Array, float]:
    """(weights (taps, C, K) with that many zeros, share of the energy of W in its small entries).

    small: entries of W to be small; exact: to be zero, too.
    """
    A = problem.A
    target = problem.target
    w_0 = problem.w_0
    scale = problem.scale
    kron = problem.kron
    C = len(scale)
    K = w_0.shape[1]
    taps = kron.shape[1]
    pull_sd = np.float32(settings.spatial_pull)
    pull_wd = np.float32(settings.winograd_pull)

    def transformed(w: Array) -> Array:
        return (kron @ w.reshape(taps, C * K)).reshape(len(kron), C, K)

    def back(W: Array) -> Array:
        return (kron.T @ W.reshape(len(kron), C * K)).reshape(-1, K)

    Z = w_0.copy()
    V = transformed(w_0)
    U = np.zeros_like(Z)
    Q = np.zeros_like(V)
    for step in range(settings.iterations):
        share = 1 - max(0.0, 1 - (step + 1) / (0.6 * settings.iterations)) ** 3
        w = product(problem.inverse, target + pull_sd * (Z - U) + pull_wd * back(V - Q))
        U += w
        Z = U * _large(np.abs(U), round(share * zeros))
        U -= Z
        if len(kron):
            Q += transformed(w)
            V = Q * _large(np.abs(Q) / scale[:, None], round(share * small))
            Q -= V
    outside = (V == 0).astype(np.float32)
    if exact:
        allowed = _space(Z == 0, V == 0, kron)
        Z = _polish(lambda p: allowed(product(A, p)), allowed(target), allowed(Z), settings.polish, SOLVED)
    else:
        mask = (Z != 0).astype(np.float32)

        def apply(p: Array) -> Array:
            applied: Array = mask * (product(A, p) + pull_wd * back(outside * transformed(p)))
            return applied

        Z = _polish(apply, mask * target, Z, settings.polish)
    W = transformed(Z) / scale[:, None]
    gone = float((W * W * outside).sum()) / max(float((W * W).sum()), 1e-20) if W.size else 0.0
    return Z.reshape(taps, C, K) / scale[:, None], gone


def _space(zero: Flags, zero_wd: Flags, kron: Array) -> Callable[[Array], Array]:
    """The projection of weights (taps C, K) onto those with these zeros.

    zero: (taps C, K).  zero_wd: (n n, C, K).
    """
    taps = kron.shape[1]
    K = zero.shape[1]

    def filters(rows: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(rows.reshape(taps, -1, K).transpose(2, 1, 0))[..., None]

    of_W = np.ascontiguousarray(zero_wd.transpose(2, 1, 0))[..., None]
    pattern = zero_pattern(filters(zero), of_W, kron) if len(kron) else zero_pattern(filters(zero))

    def project(w: Array) -> Array:
        each = filters(w)
        pattern.project(each)
        return np.ascontiguousarray(each[..., 0].transpose(2, 1, 0)).reshape(w.shape)

    return project


def _polish(
    apply: Callable[[Array], Array],
    target: Array,
    w: Array,
    steps: int,
    solved: float = 0.0,
) -> Array:
    """Conjugate gradients on apply(w) = target, each filter (column) for itself.

    solved: a filter stays as it is once this share of its right-hand side is left, or where
    rounding has made its matrix indefinite in the direction to go.
    """
    r = target - apply(w)
    p = r
    old = (r * r).sum(axis=0)
    done = np.float32(solved**2) * (target * target).sum(axis=0)
    for _ in range(steps):
        Ap = apply(p)
        curvature = (p * Ap).sum(axis=0)
        with np.errstate(over="ignore"):  # where p is next to nothing a step is none
            length = old / np.maximum(curvature, np.float32(1e-30))
        length = np.where((old > done) & (curvature > 0) & np.isfinite(length), length, np.float32(0))
        w = w + p * length
        r = r - Ap * length
        new = (r * r).sum(axis=0)
        p = r + p * (new / np.maximum(old, np.float32(1e-30)))
        old = new
    return w


def _inverse(A: NDArray[Any]) -> Array:
    """Of a positive definite matrix.

    Float32 may leave the moments of inputs that hardly change short of that: such a matrix gets
    more on its diagonal, ten times more each time, until it is.  Raises NumericalError if it never
    is.
    """
    mean = float(np.diagonal(A).mean())
    for ridge in RIDGES:
        damped = A.astype(np.float32)
        damped[np.diag_indices_from(damped)] += np.float32(ridge * mean)
        factor, failed = linalg.lapack.spotrf(damped, lower=1, overwrite_a=1)
        if not failed:
            inverse: Array = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)[0]
            lower = np.tril(inverse)
            return lower + np.tril(inverse, -1).T
    raise NumericalError("the inputs of a layer have moments that no damping makes a least-squares problem of")


def _large(magnitudes: NDArray[Any], zeros: int) -> Flags:
    """All but the smallest ``zeros``."""
    if not zeros:
        return np.ones(magnitudes.shape, np.bool_)
    flat = magnitudes.reshape(-1)
    keep: Flags = flat > np.partition(flat, zeros - 1)[zeros - 1]
    if np.count_nonzero(keep) != flat.size - zeros:  # some are as large as the largest of the smallest
        keep[:] = True
        keep[np.argpartition(flat, zeros - 1)[:zeros]] = False
    return keep.reshape(magnitudes.shape)
