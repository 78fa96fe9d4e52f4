"""A worker process of a local sweep.

Tasks in on standard input, outcomes out on standard output, a line of JSON each.

It ends when its input does, so it never outlives the sweep, however that ends.
"""

import gc
import os
import sys

from accelsim.explore.child import answers
from accelsim.explore.evaluate import evaluate_text

BETWEEN_COLLECTIONS = 20_000  # new objects, about two points: at Python's 700 a twentieth of a sweep's time


def main() -> None:
    """Do tasks until there are no more."""
    gc.freeze()  # what is imported stays
    gc.set_threshold(BETWEEN_COLLECTIONS)
    out = answers()
    try:
        for line in sys.stdin:
            out.write(evaluate_text(line) + "\n")
            out.flush()
    except BrokenPipeError:
        # the sweep is gone; there is nobody to tell, and closing the pipe would fail again
        os._exit(1)


if __name__ == "__main__":
    main()
