"""Cores and threads.

BLAS shares out a product or a factorization among its threads, and then adds up in another order,
which ends in other last bits: what must be the same on every computer runs on one thread.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
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
