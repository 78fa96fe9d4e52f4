"""Weights survive a file; damaged, foreign and hostile files give one clear line and take no memory."""

import io
import json
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.network import INPUT, Graph, Network, Node
from accelsim.network.layers import Conv
from accelsim.network.npz import read_npz
from accelsim.network.weights import load_network, read_safetensors, read_weights, save_network
from tests.laws import ALL

CONV = Conv(in_channels=2, out_channels=3, kernel=(3, 3), bias=True)
GRAPH = Graph(name="g", input_shape=(4, 4, 2), nodes=(Node(name="conv", layer=CONV, inputs=(INPUT,)),))


def network():
    rng = np.random.default_rng(0)
    return Network(GRAPH, {k: rng.standard_normal(s).astype(np.float32) for k, s in GRAPH.parameters.items()})


def safetensors(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_safetensors_round_trip_is_exact_and_repeatable(tmp_path):
    save_network(network(), tmp_path / "a.safetensors")
    save_network(network(), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded = load_network(GRAPH, tmp_path / "a.safetensors")
    assert all((loaded.arrays[name] == array).all() for name, array in network().arrays.items())


def test_half_precision_is_widened_and_integers_are_left_out(tmp_path):
    header = {
        "w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "batches": {"dtype": "I64", "shape": [1], "data_offsets": [4, 12]},
    }
    body = np.array([1.5, -2.25], np.float16).tobytes() + bytes(8)
    (tmp_path / "w.safetensors").write_bytes(safetensors(header, body))
    arrays = read_safetensors(tmp_path / "w.safetensors")
    assert {k: v.tolist() for k, v in arrays.items()} == {"w": [1.5, -2.25]}
    assert arrays["w"].dtype == np.float32


def test_npz_names_without_a_dot_are_weights(tmp_path):
    arrays = {"conv": np.ones((3, 2, 3, 3), np.float32), "conv.bias": np.ones(3)}
    np.savez(tmp_path / "w.npz", **arrays)
    assert set(load_network(GRAPH, tmp_path / "w.npz").arrays) == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.safetensors", None, "No such file or directory, expected a safetensors file"),
        ("empty.safetensors", b"", "not a safetensors file"),
        ("text.safetensors", b"hello, this is no tensor at all", "not a safetensors file"),
        ("huge.safetensors", struct.pack("<Q", 1 << 60) + b"{}", "not a safetensors file"),
        (
            "short.safetensors",
            safetensors({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
            "not a",
        ),
        (
            "nan.safetensors",
            safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0\0\xc0\x7f"),
            "NaN",
        ),
        (
            "other.safetensors",
            safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
            "'conv.bias' is missing",
        ),
        ("weights.bin", b"", "expected a .safetensors, .npz or .pt file"),
        ("text.npz", b"hello", "not a whole .npz file"),
    ],
)
def test_bad_weight_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_network(GRAPH, tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_numbers_beyond_float32_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", conv=np.array([1e300]))
    with pytest.raises(InputError, match=r"'conv.weight' holds .* beyond float32"):
        read_weights(tmp_path / "w.npz")


def npy(array=None, header=None):
    """An .npy file; with ``header``, one that lies about what follows."""
    stream = io.BytesIO()
    if header is None:
        np.lib.format.write_array(stream, array, allow_pickle=True)
    else:
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(16))
    return stream.getvalue()


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


LIE = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
OPEN = npy(header=LIE).replace(b"{'descr'", b"\0'descr'")  # a header that no brace begins
GOOD = npy(np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped([("a.npy", npy(np.array([{}], object)))]), "holds object, expected numbers"),
        (zipped([("a.npy", npy(header=LIE))]), "announces .* but holds 16 bytes"),
        (zipped([("a.npy", npy(header=LIE | {"shape": (True, 4)}))]), r"shape is not valid: \(True, 4\)"),
        (zipped([("a.npy", b"\x93NUMPY\x01\x00\x08\x00not a d\n")]), "no .npy array"),
        (zipped([("a.txt", b"hello")]), "'a.txt' is no .npy array"),
        (zipped([("a.npy", b"hello")]), "no .npy array"),
        (zipped([("a.npy", OPEN)]), "not a whole .npz file"),
        (zipped([("a.npy", GOOD)], zipfile.ZIP_LZMA), "neither stored nor deflated"),
        (zipped([("a.npy", GOOD)])[:-30], "not a whole .npz file"),
        (zipped([("a.npy", GOOD)], zipfile.ZIP_STORED).replace(GOOD, GOOD[:-1] + b"\1"), "CRC"),
    ],
)
def test_bad_npz_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_npz(path, 1 << 20)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_zip_bomb_takes_no_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    path.write_bytes(zipped([("a.npy", bytes(64 << 20))]))
    tracemalloc.start()
    with pytest.raises(InputError, match="67108864 bytes once unpacked, expected at most 1048576"):
        read_npz(path, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_header_is_held_against_what_is_there_before_that_is_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    path.write_bytes(zipped([("a.npy", npy(header=LIE) + bytes(64 << 20))]))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"announces \(1099511627776,\) float32, but holds 67108880 bytes"):
        read_npz(path, 1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_npz_keeps_dtypes_shapes_and_order(tmp_path):
    arrays = {
        "i": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.zeros((0, 3), np.int16),
        "one": np.float32(2.5),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    back = read_npz(tmp_path / "a.npz", 1 << 20)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == np.asarray(array).dtype
        assert np.array_equal(back[name], array)


def test_no_damage_escapes_the_readers(tmp_path):
    """Flipped, missing and added bytes: a file is refused in one line, or read; nothing else is ever raised."""
    save_network(network(), tmp_path / "good.safetensors")
    np.savez_compressed(tmp_path / "good.npz", **network().arrays)
    rng = np.random.default_rng(0)
    refused = 0
    for suffix in (".safetensors", ".npz"):
        content = (tmp_path / f"good{suffix}").read_bytes()
        for kind in range(600 if ALL else 150):
            changed, position = bytearray(content), int(rng.integers(len(content)))
            match kind % 3:
                case 0:
                    changed[position] ^= int(rng.integers(1, 256))
                case 1:
                    del changed[position:]
                case _:
                    changed[position:position] = rng.bytes(8)
            (tmp_path / f"bad{suffix}").write_bytes(changed)
            try:
                read_weights(tmp_path / f"bad{suffix}")
            except InputError as error:
                refused += "\n" not in str(error)
    assert refused > (800 if ALL else 200)  # the rest: a flipped weight in safetensors, which has no checksum


def entry(kind, size, first=0):
    return {"dtype": kind, "shape": [2], "data_offsets": [first, first + size]}


def test_bfloat16_is_read_as_the_float32_that_it_begins(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(safetensors({"a": entry("BF16", 4)}, struct.pack("<2H", 0x3FC0, 0xC000)))
    assert read_safetensors(tmp_path / "a.safetensors")["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("kind", ["F8_E4M3", "C64"])
def test_types_without_a_float32_are_named(tmp_path, kind):
    size = {"F8_E4M3": 2, "C64": 16}[kind]
    (tmp_path / "a.safetensors").write_bytes(safetensors({"a": entry(kind, size)}, bytes(size)))
    # the lowest release of the package does not know complex numbers
    unknown = "|not a safetensors file .*InvalidHeader" if kind == "C64" else ""
    with pytest.raises(InputError, match=f"tensor 'a' holds {kind}, expected one of F64{unknown}"):
        read_safetensors(tmp_path / "a.safetensors")


def test_a_tensor_that_is_there_twice_is_refused(tmp_path):
    one = json.dumps(entry("F32", 8))
    text = f'{{"a": {one}, "a": {one}}}'.encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(InputError, match="there twice"):
        read_safetensors(tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **{"conv": np.zeros(2), "conv.weight": np.ones(2)})
    with pytest.raises(InputError, match=r"arrays 'conv' and 'conv\.weight', expected one"):
        read_weights(tmp_path / "a.npz")


def test_a_message_is_short_whatever_the_tensors_name(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(
        safetensors({100_000 * "a": entry("F32", 8)}, struct.pack("<2f", np.nan, 1))
    )
    with pytest.raises(InputError, match="holds NaN") as error:
        read_safetensors(tmp_path / "a.safetensors")
    assert len(str(error.value)) < 1000
