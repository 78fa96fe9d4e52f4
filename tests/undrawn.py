"""Commands without their pictures, for tests that look at something else: drawing is nine tenths of their time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest


@contextmanager
def without_pictures() -> Iterator[None]:
    """Figures are made, but not drawn: an empty SVG stands in each of their files."""
    from matplotlib.figure import Figure

    def savefig(_: Figure, stream: BinaryIO, **settings: object) -> None:
        stream.write(b'<svg xmlns="http://www.w3.org/2000/svg"/>')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield
