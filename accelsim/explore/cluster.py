"""Tasks on an existing Dask cluster (extra ``cluster``).

The cluster's workers need this version of accelsim and the model files at the same paths; a worker
with other code or another file refuses its tasks.  A worker that is lost in mid-task loses only
that task: Dask gives it to another.
"""

import os
import re
import socket
from collections.abc import Generator, Iterable
from importlib import import_module
from itertools import islice
from typing import Any

from accelsim.errors import InputError
from accelsim.explore.evaluate import Outcome, Task, evaluate_text

CONNECT_SECONDS = 30
ANSWER_SECONDS = 4
# Tasks that the cluster holds at a time, for each of its threads: enough to keep it busy, few
# enough to remember.
AHEAD = 8


def check_scheduler(scheduler: str) -> None:
    """Raises InputError unless the scheduler is a file, or an address at which something answers."""
    if os.path.isfile(scheduler):
        return
    address = re.fullmatch(r"(?:(?:tcp|tls|ws|wss|ucx)://)?(\[[0-9a-fA-F:.]+\]|[^:/\s]+):([0-9]{1,5})", scheduler)
    if address is None:
        raise InputError(f"--scheduler {scheduler}: expected tcp://HOST:PORT, or a scheduler file of Dask")
    host = address[1].strip("[]")
    port = int(address[2])
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers ({error or 'timeout'})") from None


def run_cluster(tasks: Iterable[Task], scheduler: str) -> Generator[Outcome, None, None]:
    """Outcomes as they come, in any order.

    Closing the iterator takes the waiting tasks off the cluster.

    scheduler: ``tcp://HOST:PORT``, or a file that ``dask scheduler --scheduler-file`` wrote.
    Raises InputError if Dask is not installed or no cluster answers.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise InputError("--scheduler needs Dask, expected pip install distributed") from None
    where = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
    try:
        client = distributed.Client(**where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers ({error or 'timeout'})") from None
    todo = iter(tasks)
    with client:
        keys: dict[str, str] = {}

        def submit(count: int) -> list[Any]:
            futures = []
            for task in islice(todo, count):
                future = client.submit(evaluate_text, task.to_json(), key=f"accelsim-{task.key}", pure=False)
                keys[future.key] = task.key
                futures.append(future)
            return futures

        ahead = AHEAD * max(1, sum(client.nthreads().values()))
        running = distributed.as_completed(submit(ahead), loop=client.loop)
        for future in running:
            # A result that went with its worker is computed again: result() waits for it.
            if future.status not in ("error", "cancelled"):
                yield Outcome.from_json(future.result())
            else:
                yield Outcome(keys[future.key], "crashed", f"{future.status} on the cluster: {future.exception()!r}")
            running.update(submit(1))
