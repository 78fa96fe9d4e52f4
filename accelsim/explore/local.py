"""Tasks on this computer's cores: worker processes that each do one task after the other.

A worker that dies (out of memory, killed) is replaced and its task tried once more; a task that its
second worker does not survive either is reported as crashed.
"""

import contextlib
import queue
import subprocess
import threading
from collections.abc import Generator, Iterable

from accelsim.explore.child import started
from accelsim.explore.evaluate import Outcome, Task, evaluate
from accelsim.given import whole_number
from accelsim.threads import cores

ATTEMPTS = 2
MAX_WORKERS = 4096
# Layers are too small for a matrix product to gain from several threads, and the cores are taken.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def processes(workers: int | None) -> int:
    """How many processes there are to be.  Raises InputError if there can be none."""
    count = cores() if workers is None else workers
    return whole_number("--workers", count, 1, MAX_WORKERS)


def run_local(tasks: Iterable[Task], workers: int) -> Generator[Outcome, None, None]:
    """Outcomes as they come, in any order.  One worker: this very process.

    Closing the iterator ends the workers at once.
    """
    if workers == 1:
        yield from map(evaluate, tasks)
        return
    todo: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
    for task in tasks:
        todo.put(task)
    crew = [_Worker(todo, done) for _ in range(min(workers, max(1, todo.qsize())))]
    try:
        for worker in crew:
            todo.put(None)
            worker.start()
        left = len(crew)
        while left:
            outcome = done.get()
            if outcome is None:
                left -= 1
            else:
                yield outcome
    finally:
        for worker in crew:
            worker.stop()
        for worker in crew:
            worker.join()


class _Worker(threading.Thread):
    """Feeds one worker process, task by task, and replaces it when it dies."""

    def __init__(
        self,
        todo: "queue.SimpleQueue[Task | None]",
        done: "queue.SimpleQueue[Outcome | None]",
    ) -> None:
        super().__init__(daemon=True)
        self._todo = todo
        self._done = done
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            while not self._stopped and (task := self._todo.get()) is not None:
                self._done.put(self._attempt(task))
        finally:
            self._done.put(None)
            self._end()

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def _attempt(self, task: Task) -> Outcome:
        status = 0
        for _ in range(ATTEMPTS):
            process = self._start()
            if process is None:
                break
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(task.to_json() + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except (BrokenPipeError, ValueError):
                line = ""
            if line.endswith("\n"):
                return Outcome.from_json(line)
            status = self._end()
        return Outcome(task.key, "crashed", f"the worker process died {ATTEMPTS} times (exit status {status})")

    def _start(self) -> "subprocess.Popen[str] | None":
        """The running process, a new one if there is none; None once stopped."""
        with self._lock:
            if self._stopped:
                return None
            if self._process is None:
                self._process = started("accelsim.explore.worker", _ONE_THREAD)
            return self._process

    def _end(self) -> int:
        """Let go of the process; its exit status."""
        with self._lock:
            process = self._process
            self._process = None
        if process is None:
            return 0
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()
