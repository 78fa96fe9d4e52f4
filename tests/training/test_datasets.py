"""Images to train on: tables and arrays are read as they are written, or refused by row or name."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from accelsim.errors import InputError
from accelsim.training.datasets import archives, folder, from_npz

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3), dtype=np.uint8)
HEADER = "archive,file,label,split,author\n"


def listed(tmp_path, text):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for i, pixels in enumerate(PIXELS):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, "PNG")
            archive.writestr(f"{i}.png", stream.getvalue())
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path


def test_archives_give_the_images_of_a_split_with_their_labels(tmp_path):
    path = listed(tmp_path, HEADER + "a.zip,1.png,7,test,A\na.zip,0.png,9,calibration,B\n")
    found = archives(path, "test", (6, 6))
    assert found.labels.tolist() == [7]
    assert (found.pixels == PIXELS[1:]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "a.zip,1.png,1_0,test,A\n", "row 2, column 'label': '1_0', expected 0 to"),
        (HEADER + "a.zip,1.png,-1,test,A\n", "row 2, column 'label': '-1'"),
        (HEADER + "a.zip,1.png,7,tset,A\n", "row 2, column 'split': 'tset', expected calibration or test"),
        (HEADER + "a.zip,1.png,7,test\n", "row 2: 4 cells, expected 5"),
        ("archive,file,label,split,weight\na.zip,1.png,7,test,3\n", "columns archive, file, label, split, weight"),
        ("archive,file,label,split,label\na.zip,1.png,7,test,8\n", "columns archive, file, label, split, label"),
        ("", "columns , expected archive"),
    ],
)
def test_a_table_of_archives_is_read_as_a_whole_or_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        archives(listed(tmp_path, text), "test", (6, 6))


def test_labels_of_an_npz_file_are_whole_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", train_images=PIXELS, train_labels=np.array([0.7, 1.9]))
    with pytest.raises(InputError, match=r"train_labels is float64 \(2,\), expected \(2,\) integers"):
        from_npz(tmp_path / "a.npz", "train")
    np.savez(tmp_path / "a.npz", train_images=PIXELS, train_labels=np.array([1, 3], np.uint16))
    assert from_npz(tmp_path / "a.npz", "train").labels.tolist() == [1, 3]


def test_a_folder_of_classes_takes_every_kind_of_picture(tmp_path):
    for i, name in enumerate(("a/0.bmp", "b/1.tif", "b/2.PNG")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS[i % 2]).save(tmp_path / name)
    assert folder(tmp_path, (4, 4)).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: (path / ".ipynb_checkpoints").mkdir(), "ipynb_checkpoints: a class without images"),
        (lambda path: (path / "aa").symlink_to("nowhere"), "aa: beside the folders of the classes"),
        (lambda path: (path / "c.png").write_bytes(b""), "c.png: beside the folders of the classes"),
        (lambda path: os.mkfifo(path / "a" / "1.png"), "a/1.png: a FIFO, expected a picture"),
    ],
    ids=["empty", "dangling", "picture", "fifo"],
)
def test_nothing_among_the_classes_moves_their_numbers(tmp_path, make, message):
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(PIXELS[0]).save(tmp_path / name)
    (tmp_path / "README.txt").write_text("two classes")
    assert folder(tmp_path, (4, 4)).labels.tolist() == [0, 1]
    make(tmp_path)
    with pytest.raises(InputError, match=message):
        folder(tmp_path, (4, 4))
