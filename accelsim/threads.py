"""Cores and threads.

BLAS shares out a product or a factorization among its threads, and then adds up in another order,
which ends in other last bits: what must be the same on every computer runs on one thread.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

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
