"""Cores and threads.

BLAS shares out a product or a factorization among its threads, and then adds up in another order,
which ends in other last bits: what must be the same on every computer runs on one thread.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from itertools import islice
from typing import ParamSpec, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from accelsim.arrays import Array

COLUMNS = 128  # of a product that a core computes at a time

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_one_thread(work: Callable[P, T]) -> Callable[P, T]:
    """``work`` with one BLAS thread."""

    @wraps(work)
    def limited(*arguments: P.args, **keywords: P.kwargs) -> T:
        with threadpool_limits(1, user_api="blas"):
            return work(*arguments, **keywords)

    return limited


def on_all_cores(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """``work`` of each item, in order, by as many threads as there are cores; for one thread of BLAS each.

    They are as quiet about floating-point errors as the thread that calls.
    """
    waiting = list(items)
    threads = min(cores(), len(waiting))
    if threads < 2:
        return [work(item) for item in waiting]
    with ThreadPoolExecutor(threads, initializer=partial(np.seterr, **np.geterr())) as pool:
        return list(pool.map(work, waiting))


def product(A: Array, B: Array) -> Array:
    """The product A B of a matrix (m, n) and (n, k), on all cores, the same on any number of them."""
    parts = -(-B.shape[1] // COLUMNS)
    if parts < 2:
        return np.asarray(A @ B)
    found = np.empty((len(A), B.shape[1]), np.result_type(A, B))

    def fill(some: slice) -> None:
        found[:, some] = A @ B[:, some]

    on_all_cores(fill, [slice(COLUMNS * i, COLUMNS * (i + 1)) for i in range(parts)])
    return found


def ahead(work: Callable[[S], T], items: Iterable[S], most: int = 1) -> Iterator[T]:
    """``work`` of each item, in order, that of the next ones done while the caller is busy with those before.

    most: items that are done ahead, each by a thread; on one core none is.  They are as quiet about
    floating-point errors as the thread that calls.
    """
    if cores() < 2:
        yield from map(work, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(most, initializer=partial(np.seterr, **np.geterr())) as pool:
        done = deque(pool.submit(work, item) for item in islice(waiting, most))
        try:
            while done:
                found = done.popleft().result()
                done.extend(pool.submit(work, item) for item in islice(waiting, 1))
                yield found
        finally:
            pool.shutdown(cancel_futures=True)
