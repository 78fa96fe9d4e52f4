"""The results of a sweep: one SQLite file, keyed by what decides a result.

SQLite because it is in Python's standard library, a row is either in the file or not whatever kills
the process, any tool opens it, and a few thousand small rows a minute are nothing to it.  One
process writes (the others send it their results); each result is a transaction of its own in
write-ahead mode, so a finished point is lost only if the computer itself goes down before the
system has written its cache, and the file is sound even then.

SQLite does not notice a bit that flips in a row.  Every row carries a checksum; one that does not
fit it is dropped when the file is opened (``damaged``), and so computed again.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from accelsim.errors import InputError
from accelsim.explore.evaluate import Outcome
from accelsim.results_folder import SWEEP

FILE_NAME = SWEEP.file
APPLICATION_ID = 0x61736964  # "asid": a database of ours and not somebody's bookmarks
SCHEMA_VERSION = 3
BATCH = 500
MOST_BYTES = 1 << 26  # of so many points

_SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
    key TEXT PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('done', 'failed', 'crashed')),
    error TEXT NOT NULL,
    total TEXT NOT NULL,
    layers TEXT NOT NULL,
    checksum TEXT NOT NULL
) WITHOUT ROWID;
"""
# Many points a row, packed (zlib, a line each): they are much alike, and most of a sweep's bytes
# otherwise.
_POINTS = """
CREATE TABLE IF NOT EXISTS points (first INTEGER PRIMARY KEY, content BLOB NOT NULL, checksum TEXT NOT NULL)
"""


def checksum(*parts: str | int | bytes) -> str:
    """SHA-256 of a row's other columns, shortened to what chance does not meet."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else str(part).encode(errors="surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _batches(contents: Iterable[str]) -> Iterator[list[str]]:
    """The contents in order, so many at a time."""
    rest = iter(contents)
    while some := list(islice(rest, BATCH)):
        yield some


def has_results(path: Path) -> bool:
    """Whether a sweep has begun to keep results there: an empty file is none's."""
    return path.exists() and not (path.is_file() and path.stat().st_size == 0)


class Store:
    """Outcomes by key, on disk.

    Raises InputError if the file is not such a store, or can no longer be written.

    damaged: rows that were found so, and dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: no regular file, expected the results of a sweep")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._open()
            self._drop_damaged()
        except sqlite3.Error as error:
            raise InputError(f"{path}: {error}, expected the results of a sweep") from None

    def _open(self) -> None:
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (mine,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if tables and (mine, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise InputError(f"{self.path}: a database of something else, expected the results of a sweep")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._db.execute(_SCHEMA)
            self._db.execute(_POINTS)
            self._db.execute("COMMIT")

    def _drop_damaged(self) -> None:
        """Delete the rows whose checksum does not fit."""
        wrong = [row[0] for row in self._db.execute("SELECT * FROM results") if checksum(*row[:-1]) != row[-1]]
        points = [row[0] for row in self._db.execute("SELECT * FROM points") if checksum(*row[:-1]) != row[-1]]
        self.damaged = len(wrong) + len(points)
        if self.damaged:
            with self._writing():
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("DELETE FROM results WHERE key = ?", ((key,) for key in wrong))
                self._db.executemany("DELETE FROM points WHERE first = ?", ((first,) for first in points))
                self._db.execute("COMMIT")

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome.

        A finished one stays as it is, one that crashed gives way to a later one.

        Raises InputError if the disk is full; nothing kept before is lost.
        """
        content = (outcome.key, outcome.status, outcome.error, outcome.total, outcome.layers)
        values = (*content, checksum(*content))
        with self._writing():
            self._db.execute(
                "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "status = excluded.status, error = excluded.error, total = excluded.total, layers = excluded.layers, "
                "checksum = excluded.checksum WHERE status = 'crashed'",
                values,
            )

    def put_points(self, contents: Iterable[str]) -> None:
        """Keep what the sweep's points are, in order, instead of those kept before.

        Raises InputError as ``add``.
        """
        with self._writing():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM points")
            for first, some in enumerate(_batches(contents)):
                packed = zlib.compress("\n".join(some).encode())
                self._db.execute("INSERT INTO points VALUES (?, ?, ?)", (first, packed, checksum(first, packed)))
            self._db.execute("COMMIT")

    def points(self) -> list[str]:
        """What ``put_points`` kept.  Raises InputError if it is not that."""
        rows = self._db.execute("SELECT content FROM points ORDER BY first")
        return [line for (packed,) in rows for line in self._unpacked(packed).split("\n")]

    def _unpacked(self, packed: bytes) -> str:
        unpacker = zlib.decompressobj()
        try:
            content = unpacker.decompress(packed, MOST_BYTES)
            if not unpacker.eof:
                raise InputError(f"{self.path}: {BATCH} points of over {MOST_BYTES} bytes, expected those of a sweep")
            return content.decode()
        except (zlib.error, TypeError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: {error}, expected the points of a sweep") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(f"{self.path}: {error}; what was finished is kept, run the sweep again to go on") from None

    def finished(self) -> set[str]:
        """Keys of all outcomes that need not be computed again."""
        return {key for (key,) in self._db.execute("SELECT key FROM results WHERE status <> 'crashed'")}

    def get(self, keys: Iterable[str]) -> Iterator[Outcome]:
        """The outcomes of the keys that have one, in the order of the keys."""
        wanted = list(keys)
        for start in range(0, len(wanted), BATCH):
            some = wanted[start : start + BATCH]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT * FROM results WHERE key IN ({marks})", some)
            found = {row[0]: Outcome(*row[:-1]) for row in rows}
            yield from (found[key] for key in some if key in found)
