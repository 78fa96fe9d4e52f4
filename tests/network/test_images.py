"""Labelled images from a file or a folder; every fault is one line that names the file, and takes no memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from accelsim.errors import InputError
from accelsim.network.images import LabelledImages, read_images, write_images
from accelsim.network.pictures import read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 7, 300])


@pytest.mark.parametrize("reference", [None, np.array([1, 2, 3])])
def test_a_file_keeps_pixels_labels_and_reference(tmp_path, reference):
    for name in ("a.npz", "b.npz"):
        write_images(tmp_path / name, LabelledImages(PIXELS, LABELS, reference))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_images(tmp_path / "a.npz")
    assert (back.pixels == PIXELS).all()
    assert back.labels.tolist() == LABELS.tolist()
    assert back.reference is None if reference is None else back.reference.tolist() == [1, 2, 3]


def folder_with(tmp_path, table, images=3):
    (tmp_path / "labels.csv").write_text(table)
    for i in range(images):
        Image.fromarray(PIXELS[i]).save(tmp_path / f"{i}.png")
    return tmp_path


def test_a_folder_of_pictures_is_read_in_the_tables_order(tmp_path):
    folder = folder_with(tmp_path, "file,label,reference\n2.png,300,4\n0.png,0,5\n1.png,7,6\n")
    images = read_images(folder)
    assert (images.pixels == PIXELS[[2, 0, 1]]).all()
    assert images.labels.tolist() == [300, 0, 7]
    assert images.reference.tolist() == [4, 5, 6]


def test_grey_and_palette_pictures_become_rgb(tmp_path):
    folder = folder_with(tmp_path, "file,label\ngrey.png,1\n", images=0)
    Image.fromarray(PIXELS[0, :, :, 0]).save(folder / "grey.png")
    images = read_images(folder)
    assert (images.pixels[0] == PIXELS[0, :, :, :1]).all()
    assert images.reference is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": LABELS}, r"no array 'images' \(found labels\)"),
        ({"images": PIXELS}, "no array 'labels'"),
        (
            {"images": PIXELS.astype(np.float32), "labels": LABELS},
            r"images is float32 .* expected uint8 \(N, H, W, 3\)",
        ),
        ({"images": PIXELS[..., 0], "labels": LABELS}, "expected uint8"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "expected uint8"),
        ({"images": PIXELS, "labels": LABELS[:2]}, r"labels is int64 \(2,\), expected \(3,\) integers"),
        ({"images": PIXELS, "labels": LABELS / 1}, "labels is float64"),
        ({"images": PIXELS, "labels": LABELS - 1}, "labels holds -1 to 299, expected 0 to"),
        ({"images": PIXELS, "labels": LABELS, "reference": LABELS[:1]}, r"reference is int64 \(1,\)"),
        ({"images": np.array([{}]), "labels": LABELS}, "'images.npy' holds object, expected numbers"),
    ],
)
def test_files_that_do_not_hold_images(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as error:
        read_images(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "no column 'file'"),
        ("file,class\n0.png,1\n", r"no column 'label' \(found file, class\)"),
        ("file,label\n", "no rows"),
        ("file,label\n0.png,one\n", "row 2, column 'label': 'one', expected a whole number"),
        ("file,label\n0.png,1\n1.png\n", "row 3, column 'label': ''"),
        ("file,label\n0.png,-1\n", "row 2, column 'label': '-1'"),
        ("file,label\n../0.png,1\n", r"row 2, column 'file': '\.\./0.png'"),
        ("file,label\n/etc/passwd,1\n", "row 2, column 'file'"),
        ("file,label\n0.png,1\n9.png,1\n", "9.png: No such file or directory, expected a picture"),
        ("file,label\nlabels.csv,1\n", "labels.csv: no picture, expected one of PNG"),
        ("file,label\n0.png,1\nlarge.png,1\n", "large.png: 9 x 9 pixels, expected 4 x 5"),
        ("file,label\ncut.png,1\n", "cut.png"),
        ("file,label\nbomb.png,1\n", "bomb.png"),
    ],
)
def test_folders_that_do_not_hold_images(tmp_path, table, message):
    folder = folder_with(tmp_path, table)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(folder / "large.png")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "bomb.png").write_bytes(huge_png(1 << 16, 1 << 16))
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as error:
        read_images(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)
    assert peak < 8 << 20


def huge_png(width, height):
    """A small file that announces a large picture."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz: No such file or directory"):
        read_images(tmp_path / "none.npz")


def test_a_table_of_bytes_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="byte 11 is no UTF-8 text, expected a table with the columns file and label"):
        read_images(tmp_path)


def test_pictures_in_any_format_count(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(PIXELS[1]).save(stream, "WEBP", lossless=True)
    (tmp_path / "x.webp").write_bytes(stream.getvalue())
    (tmp_path / "labels.csv").write_text("file,label\nx.webp,1\n")
    assert (read_images(tmp_path).pixels[0] == PIXELS[1]).all()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(colours, channels):
    """A PNG of 2 x 2 pixels with 16 bits a colour."""
    header = struct.pack(">IIBBBBB", 2, 2, 16, colours, 0, 0, 0)
    rows = 2 * (b"\0" + b"\xff\x80" * 2 * channels)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def deep_tiff():
    """A TIFF of 1 x 1 pixel with 3 times 16 bits."""
    sizes = {256: 1, 257: 1, 259: 1, 262: 2, 273: 8, 277: 3, 278: 1, 279: 6}
    entries = [struct.pack("<HHIHxx", tag, 3, 1, value) for tag, value in sizes.items()]
    entries.insert(2, struct.pack("<HHII", 258, 3, 3, 14 + 2 + 12 * 9 + 4))  # three numbers behind the table
    return (
        b"II*\0"
        + struct.pack("<I", 14)
        + b"\xff\x80" * 3
        + struct.pack("<H", 9)
        + b"".join(entries)
        + (struct.pack("<IHHH", 0, 16, 16, 16))
    )


DEEP = {
    "rgb.png": deep_png(2, 3),
    "grey_alpha.png": deep_png(4, 2),
    "rgba.png": deep_png(6, 4),
    "rgb.ppm": b"P6 1 1 65535\n" + b"\xff\x80" * 3,
    "ten_bits.ppm": b"P6 1 1 1023\n" + b"\x03\x80" * 3,
    "rgb.tif": deep_tiff(),
}


@pytest.mark.parametrize("name", DEEP)
def test_colours_of_over_8_bits_are_refused_and_not_rounded(tmp_path, name):
    (tmp_path / name).write_bytes(DEEP[name])
    with pytest.raises(InputError, match="over 8 bits a colour, expected 8"):
        read_picture(tmp_path / name)


def test_a_ppm_of_few_steps_is_scaled_to_its_largest_number(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P6 1 1 5\n\x00\x01\x05")
    assert read_picture(tmp_path / "a.ppm").tolist() == [[[0, 51, 255]]]  # 255 / 5


def test_colours_of_another_space_are_refused(tmp_path):
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(InputError, match="colours as LAB"):
        read_picture(tmp_path / "lab.tif")


def test_a_damaged_picture_is_told_in_one_line_and_nothing_beside_it(tmp_path, capfd, recwarn):
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.tif")
    whole = (tmp_path / "a.tif").read_bytes()
    for end in range(20, 140, 7):
        (tmp_path / "b.tif").write_bytes(whole[:end])
        with pytest.raises(InputError) as error:
            read_picture(tmp_path / "b.tif")
        assert "\n" not in str(error.value)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PIXELS[0]).save(tmp_path / "a.jpg", exif=exif)
    whole = (tmp_path / "a.jpg").read_bytes()
    right = np.asarray(Image.open(tmp_path / "a.jpg"))
    at = whole.index(b"Exif") + 20
    (tmp_path / "b.jpg").write_bytes(whole[:at] + b"\xff" * 4 + whole[at + 4 :])  # a note of 4 GiB
    assert (read_picture(tmp_path / "b.jpg") == right).all()  # as it is stored, whatever the note says
    assert capfd.readouterr().err == ""
    assert not recwarn.list
