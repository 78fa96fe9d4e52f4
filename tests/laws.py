"""How many random examples a law is tried on: a sixth of its own number, or all with ``ACCELSIM_EXAMPLES=all``.

``make test`` takes the sixth, or six where that is fewer, so that it ends in minutes; ``make test-all`` takes all.  The
law is the same.  Tests of whole networks ask ``ALL``, too, and take a small one in ``make test``.
"""

import os

from hypothesis import settings

ALL = os.environ.get("ACCELSIM_EXAMPLES") == "all"
LEAST = 6  # random examples of a law, unless it has fewer of its own


def law(examples: int, quick: int | None = None) -> settings:
    """Settings of a law that is tried on so many random examples, else those of ``conftest.py``.

    quick: as many in ``make test``, where an example takes a second and more.
    """
    few = quick or min(examples, max(LEAST, examples // 6))
    return settings(max_examples=examples if ALL else few)
