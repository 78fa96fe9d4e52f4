"""A worker process of a local sweep.

Tasks in on standard input, outcomes out on standard output, a line of JSON each.

It ends when its input does, so it never outlives the sweep, however that ends.
"""

import gc
import os
import signal
import sys

from accelsim.explore.evaluate import evaluate_text

BETWEEN_COLLECTIONS = 20_000  # new objects, about two points: at Python's 700 a twentieth of a sweep's time


def main() -> None:
    """Do tasks until there are no more."""
    gc.freeze()  # what is imported stays
    gc.set_threshold(BETWEEN_COLLECTIONS)
    # Ctrl-C is for the sweep, which then lets go of us: also where it has put us into its own group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    try:
        for line in sys.stdin:
            answers.write(evaluate_text(line) + "\n")
            answers.flush()
    except BrokenPipeError:
        # the sweep is gone; there is nobody to tell, and closing the pipe would fail again
        os._exit(1)


if __name__ == "__main__":
    main()
