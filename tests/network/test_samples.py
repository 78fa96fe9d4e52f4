"""Pictures of any size become the network's, and what could be meant in two ways is refused."""

import errno
import io
import os
import socket
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from accelsim.errors import InputError
from accelsim.network.pictures import read_picture
from accelsim.network.samples import read_labelled, read_samples

SHAPE = (8, 8, 3)


@pytest.fixture
def folder(tmp_path):
    """Pictures a.png and b/c.png, of one colour each."""
    (tmp_path / "b").mkdir()
    Image.new("RGB", (16, 8), (1, 2, 3)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 9), (4, 5, 6)).save(tmp_path / "b" / "c.png")
    return tmp_path


def table(folder, text):
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_pictures_of_any_size_are_read_in_the_order_of_their_paths(folder):
    pixels = read_samples(folder, SHAPE, 10)
    assert pixels[:, 0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_labels_go_with_their_pictures(folder):
    labels = table(folder, "file,label,reference\nb/c.png,7,1\na.png,5,1\n")
    pixels, found = read_labelled(folder, SHAPE, 10, labels)
    assert dict(zip(pixels[:, 0, 0, 0].tolist(), found.tolist(), strict=True)) == {1: 5, 4: 7}


def test_folders_are_searched_through_links(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    Image.new("RGB", (8, 8), (7, 8, 9)).save(elsewhere / "z.png")
    (folder / "c").symlink_to(elsewhere)
    (folder / "d.png").symlink_to(elsewhere / "z.png")
    assert read_samples(folder, SHAPE, 10)[:, 0, 0, 0].tolist() == [1, 4, 7, 7]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "b/x.PNG: a FIFO, expected a picture"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "b/x.PNG: a socket, expected a picture"),
        (lambda path: path.symlink_to("nowhere.png"), "b/x.PNG: No such file or directory, expected a picture"),
        (lambda path: path.symlink_to(".."), "b/x.PNG: leads to a folder that is searched anyway"),
    ],
    ids=["fifo", "socket", "dangling", "loop"],
)
def test_what_is_called_as_a_picture_and_is_none_is_not_left_out(folder, monkeypatch, make, message):
    monkeypatch.chdir(folder / "b")  # a socket's path is short
    make(Path("x.PNG"))
    with pytest.raises(InputError, match=message):
        read_samples(folder, SHAPE, 10)


def test_a_folder_that_cannot_be_read_is_not_left_out(folder, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("/b"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="b: Permission denied, expected a folder of pictures"):
        read_samples(folder, SHAPE, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,1\na.png,2\n", "row 3, column 'file': 'a.png' is that of row 2, too"),
        ("file,label\na.png,1\n./a.png,2\n", "is that of row 2, too"),
        ("file,label,colour\na.png,1,red\n", "column 'colour' is not known"),
        ("file,label,label\na.png,1,2\n", "two columns have one name"),
        ('file,label\n"a.png,1\nb/c.png,2\n', "row 2: a quote is not closed"),
        ("file,label\na.png,1,2\n", "row 2: more cells than the 2 of the header"),
        ("file,label\n\na.png,x\n", "row 3, column 'label': 'x'"),
        ("file,label\na.png,1000001\n", "expected a whole number of 0 to 1000000"),
        ("file,label\n../a.png,1\n", "expected a picture in the folder"),
        ("file,label\n", "no rows"),
        ("file,label\na\0.png,1\n", "null"),
        ("file,label\n" + "a" * 200_000 + ",1\n", "field larger than field limit"),
    ],
)
def test_labels_that_could_be_meant_otherwise_are_refused(folder, text, message):
    with pytest.raises(InputError) as refused:
        read_labelled(folder, SHAPE, 10, table(folder, text))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.array([-1, 0])}, "labels holds -1 to 0"),
        ({"labels": np.array([2**64 - 1, 0], np.uint64)}, "expected 0 to 1000000"),
        ({"label": np.array([1, 0])}, "array 'label' is not known"),
        ({"labels": np.array([0.5, 0])}, "labels is float64"),
        ({"labels": np.array([1, 2, 3])}, "expected (2,) integers"),
    ],
)
def test_arrays_that_could_be_meant_otherwise_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, *SHAPE), np.uint8), **arrays)
    with pytest.raises(InputError) as refused:
        read_samples(tmp_path / "a.npz", SHAPE, 10)
    assert message in str(refused.value)


def test_labels_beside_a_file_of_images_are_refused(folder):
    np.savez(folder / "a.npz", images=np.zeros((2, *SHAPE), np.uint8))
    with pytest.raises(InputError, match="expected them in it"):
        read_labelled(folder / "a.npz", SHAPE, 10, table(folder, "file,label\na.png,1\n"))


def test_where_there_is_nothing_a_folder_would_do(tmp_path):
    wanted = "nowhere: No such file or directory, expected a folder of pictures or an .npz file of images"
    with pytest.raises(InputError, match=wanted):
        read_samples(tmp_path / "nowhere", (8, 8, 3), 10)


def test_a_picture_of_one_row_takes_no_gigabytes(tmp_path):
    Image.new("RGB", (60_000, 1)).save(tmp_path / "a.png")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="1 x 60000 pixels, too long and narrow for 224 x 224"):
            read_samples(tmp_path, (224, 224, 3), 10)
        assert tracemalloc.get_traced_memory()[1] < 1 << 28
    finally:
        tracemalloc.stop()


def test_many_pictures_in_one_file_are_refused_at_once(tmp_path):
    """A TIFF is a chain of pictures; to count them is to follow it."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "TIFF")
    content = bytearray(stream.getvalue())
    first = int.from_bytes(content[4:8], "little")
    entries = content[first : first + 2 + 12 * int.from_bytes(content[first : first + 2], "little")]
    chain = bytearray(content)
    link = first + len(entries)
    for _ in range(40_000):
        chain[link : link + 4] = len(chain).to_bytes(4, "little")
        link = len(chain) + len(entries)
        chain += entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(chain)
    begin = time.process_time()
    with pytest.raises(InputError, match="several pictures in one file"):
        read_picture(tmp_path / "a.tif")
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("name", ["a.gif", "b.HEIC", "in/c.avif", "d.jp2"])
def test_a_picture_of_another_format_is_refused_by_name(tmp_path, name):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"GIF89a")
    (tmp_path / "notes.txt").write_text("passed over")
    with pytest.raises(InputError, match=rf"{name}: a picture ending in .*, expected one ending in .*\.png"):
        read_samples(tmp_path, (8, 8, 3), 10)


@pytest.mark.parametrize("name", ["a.pgm", "a.jfif", "A.PNM"])
def test_all_endings_of_the_formats_that_are_read_are_taken(tmp_path, name):
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / name, format="JPEG" if "jfif" in name else "PPM")
    assert read_samples(tmp_path, (8, 8, 1), 10).shape == (1, 8, 8, 1)
