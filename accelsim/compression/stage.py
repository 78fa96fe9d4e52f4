"""A long stage of a compression, and the state from which it goes on once interrupted.

The state lies in a folder beside the file to be made until that is written, and says of which
recipe and weights it is.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelsim.arrays import Array
from accelsim.errors import InputError
from accelsim.files import alone_in
from accelsim.training.checkpoint import STATE, load_state, save_state


class CompressionStage:
    """One stage of the compression to one file."""

    def __init__(
        self,
        out: Path,
        name: str,
        recipe: Mapping[str, Any],
        arrays: Mapping[str, Array],
        later: bool = False,
    ) -> None:
        """out: the file.  name: such as "rounding".  arrays: the weights that are compressed.

        later: of a file made again, which an interrupted run may not have come to.
        """
        self._later = later
        self._of = dict(recipe) | {"arrays": _digest(arrays)}
        self.folder = out.with_name(f"{out.name}.{name}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold off other processes that compress to the same file.  Raises InputError if one does already."""
        with alone_in(self.folder, "another compression"):
            yield

    def begin(self, resume: bool) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """(arrays, notes) to go on from, or None from the start.

        Raises InputError if there is a state and nothing is to be resumed, or the other way round,
        or if it is another recipe's.
        """
        where = self.folder / STATE
        if not resume:
            if where.exists():
                raise InputError(
                    f"{self.folder}: holds an interrupted compression, expected --resume or no such folder"
                )
            return None
        if self._later and not where.exists():
            return None
        arrays, notes = load_state(self.folder)
        if notes.get("recipe") != self._of:
            raise InputError(f"{where}: the state of another recipe or checkpoint")
        return arrays, notes

    def save(self, arrays: Mapping[str, Array], notes: Mapping[str, Any]) -> None:
        """Write the state.  notes: anything JSON can hold."""
        save_state(self.folder, arrays, {**notes, "recipe": self._of})

    def remove(self) -> None:
        """Forget the state, for the file is there."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()
