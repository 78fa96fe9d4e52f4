"""The one gate for files.

What comes in is a regular file of bounded size, what goes out is whole or not there.

Reading.  A file from outside is opened by ``opened`` or read by ``read_bytes`` or ``read_text``,
and nowhere else.  A FIFO, a device, a socket or a folder is refused before it is opened, and a read
ends one byte beyond the bound of the file's kind, whatever ``stat`` says of its size.  The kinds
and their bounds are the constants below.

Writing.  A reader never sees half a file (temporary file, fsync, rename) nor half a folder of
results (temporary folder, exchange of names).  What a killed process has left over is swept when
the same file or folder is next written.
"""

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

from accelsim.errors import InputError
from accelsim.links import followed, without_links


class Kind(NamedTuple):
    """A kind of file: what messages call it, and the most bytes that are read of one."""

    name: str
    most_bytes: int


MACHINE = Kind("a machine description", 1 << 20)
SWEEP = Kind("a sweep file", 1 << 20)
COMPRESSION_RECIPE = Kind("a compression recipe", 1 << 20)
TRAINING_RECIPE = Kind("a training recipe", 1 << 20)
LAYER_TABLE = Kind("a table of layers", 4 << 20)
LABELS = Kind("a table with the columns file and label", 64 << 20)
PICTURE = Kind("a picture", 256 << 20)
DUAL = Kind("a .dual file", 128 << 20)
MODEL = Kind("a model", 128 << 20)  # a .dual file or a table of layers
IMAGES = Kind("an .npz file of images", 1 << 30)
DATA = Kind("an .npz file of training and test images", 4 << 30)
ARCHIVE = Kind("an archive of images", 16 << 30)
WEIGHTS = Kind("an .npz file", 2 << 30)
STATE_DICT = Kind("a state dict", 2 << 30)
SAFETENSORS = Kind("a safetensors file", 2 << 30)
ONNX = Kind("an ONNX file", 2 << 30)
ONNX_DATA = Kind("the ONNX file's weights", 2 << 30)
CARD = Kind("a checkpoint's card", 1 << 20)
MODEL_CARD = Kind("a page that says where models come from", 1 << 20)
STATE = Kind("the state of a run to resume", 4 << 30)
LOG = Kind("the log of a run", 256 << 20)
PRICES = Kind("the prices of a run's layers", 256 << 20)
RESULTS = Kind("a table of `accelsim compare -o`", 64 << 20)

_TYPES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_CHUNK = 1 << 20
_PARTIAL = ".partial"
# RENAME_EXCHANGE and AT_FDCWD of renameat2(2)
_EXCHANGE = 2
_HERE = -100


@contextmanager
def opened(path: Path, kind: Kind) -> Iterator[BufferedReader]:
    """The file, open for reading, for readers that seek.

    They bound what they read of it themselves.

    Raises InputError if it cannot be opened, is no regular file, or states a size beyond the kind's
    bound.
    """
    try:
        # before opening: to open a device may already do something
        _regular(path, os.stat(path), kind)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            _regular(path, found, kind)
            if found.st_size > kind.most_bytes:
                raise InputError(f"{path}: {found.st_size} bytes, expected {kind.name} of at most {kind.most_bytes}")
            yield stream
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected {kind.name}") from None
    except ValueError as error:  # a path with a null character
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}, expected {kind.name}") from None


def read_bytes(path: Path, kind: Kind) -> bytes:
    """All bytes of a file.

    Raises InputError as ``opened``, or if more can be read than the kind's bound.
    """
    with opened(path, kind) as stream:
        content = stream.read(os.fstat(stream.fileno()).st_size + 1)
        while (more := stream.read(_CHUNK)) and len(content) <= kind.most_bytes:
            # stat need not be right
            content += more
    if len(content) > kind.most_bytes:
        raise InputError(f"{path}: over {kind.most_bytes} bytes, expected {kind.name} of at most that")
    return content


def read_text(path: Path, kind: Kind) -> str:
    """A file's text: UTF-8, a byte order mark left out.

    Raises InputError as ``read_bytes``, or if it is none.
    """
    content = read_bytes(path, kind)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is no UTF-8 text, expected {kind.name}") from None


def _regular(path: Path, found: os.stat_result, kind: Kind) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = _TYPES.get(stat.S_IFMT(found.st_mode), "no regular file")
        raise InputError(f"{path}: {what}, expected {kind.name}")


def check_regular(path: Path, kind: Kind) -> None:
    """Raise InputError unless a regular file, or a link to one, is there."""
    try:
        _regular(path, os.stat(path), kind)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}, expected {kind.name}") from None


def check_output(path: Path, *read: str | Path | None) -> None:
    """Raise InputError, before time goes into what it would hold, if no file can be written there.

    Or none should: read are the files that it is made from, which it would replace.
    """
    if path.name == "-":
        raise InputError(f"{path}: expected the name of a file to write (/dev/stdout is standard output)")
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected a file to write")
    for source in read:
        if source is not None and path.is_file() and Path(source).is_file() and path.samefile(source):
            raise InputError(f"{path}: is read for what would be written there, expected another file")
    if not _special(path):
        check_folder(followed(path).parent)


def check_folder(folder: Path) -> None:
    """Raise InputError, before time goes into what it would hold, if no file can be written in a folder.

    It, or the nearest one that is there to make it in, is no folder or may not be written to.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise InputError(f"{folder}: {there} is no folder, expected a folder to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: {there} may not be written to, expected a folder to write to")


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary neighbour of ``path`` for writing.

    On success it replaces ``path``, on error it vanishes.

    A link is followed.  What is there and is no regular file (/dev/null, /dev/stdout) is written to
    as it is.  Permissions are those of any new file (umask).  Raises OSError if the folder cannot
    be written.
    """
    path = followed(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _special(path):
        # a FIFO that nobody reads: ENXIO
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        with _named(path), os.fdopen(descriptor, "wb") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_left_over(path)
    with _named(path):
        temporary, descriptor = _new_file(path)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(descriptor)
                os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of writing name the file that is to be written.

    Those of a full disk name none, others the neighbour.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename).endswith(_PARTIAL)):
            raise type(error)(error.errno, error.strerror, str(path)) from None
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_write(path) as stream:
        stream.write(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_folder(folder: Path, files: Mapping[str, bytes], replaced: Collection[str] = ()) -> None:
    """Make ``folder`` hold the files by name, all at once.

    Whenever it is looked at, it holds the old or the new.

    replaced: names of older files that go.  What else lies in the folder stays.  Where names cannot
    be exchanged (the working directory, a mount, a file system without it) the files are written
    one after the other.
    Raises OSError if the folder cannot be written.
    """
    folder = without_links(folder)
    if os.path.lexists(folder) and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if folder.is_dir() and (Path.cwd().is_relative_to(folder) or folder.is_mount()):
        _one_by_one(folder, files, replaced)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_left_over(folder)
    try:
        temporary, lock = _new_folder(folder)
    except PermissionError:
        if not folder.is_dir():
            raise
        _one_by_one(folder, files, replaced)
        return
    try:
        if folder.is_dir():
            _carry_over(folder, temporary, {*files, *replaced})
        for name, content in files.items():
            with (temporary / name).open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        if not os.path.lexists(folder):
            os.rename(temporary, folder)
        elif not _exchanged(temporary, folder):
            _one_by_one(folder, files, replaced)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder, made if it is not there, so that no other process does the same in it meanwhile.

    doing: what a message calls it.  Whatever ends the process lets go of the folder, and where the
    file system knows no locks nobody is held off.  A folder made here that is empty at the end
    goes.  Raises InputError if another process holds the folder, or it cannot be made.
    """
    check_folder(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink:  # whoever held it has just removed it
                raise BlockingIOError
        except BlockingIOError:
            raise InputError(f"{folder}: {doing} is running there, expected a folder of its own, or its end") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        if made:
            with suppress(OSError):  # holds something
                folder.rmdir()
        os.close(descriptor)


def sweep_left_over(path: Path) -> None:
    """Remove what killed processes have left of writing ``path``.

    Temporary neighbours that nobody holds locked.
    """
    for left in path.parent.glob(f".{_pattern(path.name)}.*{_PARTIAL}"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        except OSError:  # in use
            continue
        finally:
            os.close(descriptor)


def _pattern(name: str) -> str:
    """The name with what ``glob`` would take for a wildcard in brackets."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _special(path: Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _neighbour(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}")


def _new_file(path: Path) -> tuple[Path, int]:
    """A new neighbour and its descriptor, locked while it is open, so that nobody sweeps it."""
    while True:
        temporary = _neighbour(path)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _locked(descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _new_folder(path: Path) -> tuple[Path, int]:
    """A new neighbour that is a folder, and a descriptor that holds it locked."""
    while True:
        temporary = _neighbour(path)
        temporary.mkdir()
        try:
            descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # too many open files
            temporary.rmdir()
            raise
        if _locked(descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the new file is ours: another process's sweep may have come before the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return os.fstat(descriptor).st_nlink > 0


def _carry_over(old: Path, new: Path, but: Collection[str]) -> None:
    """Link what stays of a folder into the one that takes its place."""
    shutil.copymode(old, new)
    for entry in old.iterdir():
        if entry.name in but:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, new / entry.name, symlinks=True, copy_function=os.link)
        else:
            os.link(entry, new / entry.name, follow_symlinks=False)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders; False where the system does not offer that."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    return bool(exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _one_by_one(folder: Path, files: Mapping[str, bytes], replaced: Collection[str]) -> None:
    for name, content in files.items():
        write_bytes(folder / name, content)
    for name in replaced:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
