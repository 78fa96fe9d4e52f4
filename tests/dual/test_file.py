"""The .dual file: what is written is read, the bytes are the same each time, and nothing damaged gets through."""

import bz2
import hashlib
import json
import math
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from accelsim.compression.fold import fold_batch_norm
from accelsim.dual import file as dual
from accelsim.dual.coding.coders import decode, encode
from accelsim.dual.coding.context import coding_steps
from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.container import pack, unpack
from accelsim.dual.file import (
    CompressedNetwork,
    decode_dual,
    encode_dual,
    read_dual,
    with_accuracy,
    with_coder,
    write_dual,
)
from accelsim.dual.quantizer import Quantizer
from accelsim.errors import InputError
from accelsim.network import INPUT, Graph, Node, forward
from accelsim.network.layers import Conv
from tests.dual.small import small_compressed, small_graph, small_images, small_network

FILE = encode_dual(small_compressed())


def members(content=FILE):
    return unpack(content, 1 << 20)


def packed(parts):
    return pack(parts, frozenset({"manifest.json"}))


def rebuilt(**changed):
    """A file with other members, in a sound archive, with the digest that belongs to them."""
    parts = members()
    parts.update({name.replace("manifest", "manifest.json"): content for name, content in changed.items()})
    digest = hashlib.sha256(b"".join(content for name, content in parts.items() if name != "digest")).digest()
    return packed({**parts, "digest": digest})


def with_manifest(change):
    """A file whose manifest is changed in place by a function."""
    manifest = json.loads(members()["manifest.json"])
    change(manifest)
    return rebuilt(manifest=json.dumps(manifest).encode())


def refused(content, match=None):
    """The one-line error, within a second of processor time and 200 MB."""
    start = time.process_time()  # the machine need not be idle
    with pytest.raises(InputError, match=match) as caught:
        decode_dual(content, "x.dual")
    seconds = time.process_time() - start
    tracemalloc.start()  # slows Python down, so again
    with pytest.raises(InputError, match=match):
        decode_dual(content, "x.dual")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("x.dual: ")
    assert peak < 200e6
    assert seconds < 1


@pytest.mark.parametrize("coder", ["bz2", "context", "static"])
@pytest.mark.parametrize("dither", [None, 3])
def test_a_file_says_what_was_written(tmp_path, coder, dither):
    compressed = small_compressed(dither=dither)
    compressed = replace(compressed, quantizer=replace(compressed.quantizer, codebook=np.linspace(-20, 20, 41) + 0.125))
    written = write_dual(tmp_path / "small.dual", compressed, coder)
    model = read_dual(tmp_path / "small.dual")
    assert model.sha256 == written.sha256
    assert model.file_bytes == (tmp_path / "small.dual").stat().st_size
    assert model.network.graph == compressed.graph
    for name, n in compressed.indices.items():
        np.testing.assert_array_equal(model.network.arrays[name], compressed.quantizer.decode(name, n))
    for name, values in compressed.values.items():
        largest = np.abs(values).max()
        np.testing.assert_allclose(model.network.arrays[name], values, atol=largest / 2**9)  # 10 bits with the sign
    for name, shares in compressed.input_density.items():
        np.testing.assert_allclose(model.input_density[name], shares, atol=0.5 / 63)
    assert model.winograd_m == compressed.winograd_m == {"a": 2, "b": 2}
    assert model.winograd_threshold == compressed.winograd_threshold
    assert model.provenance == {"data": "none"}
    assert sum(model.coded_bits.values()) == pytest.approx(
        8 * len(members((tmp_path / "small.dual").read_bytes())["weights"]), abs=96
    )


def test_another_code_leaves_all_else_as_it_was():
    recoded = with_coder(FILE, "static")
    old, new = decode_dual(FILE, "x"), decode_dual(recoded, "x")
    assert new.accuracy == old.accuracy
    assert new.winograd_m == old.winograd_m
    for name, array in old.network.arrays.items():
        np.testing.assert_array_equal(new.network.arrays[name], array)
    assert with_coder(recoded, "context") == FILE


def test_the_decoded_network_runs_like_the_quantized_one():
    compressed = small_compressed()
    model = decode_dual(FILE, "small.dual")
    network = fold_batch_norm(small_network())
    exact = replace(
        network,
        arrays={**network.arrays, **{n: compressed.quantizer.decode(n, i) for n, i in compressed.indices.items()}},
    )
    x = small_images()
    np.testing.assert_allclose(forward(model.network, x), forward(exact, x), atol=0.02)


def one_layer(indices):
    """A network of one convolution with these indices (K, C, R, S)."""
    K, C, R, S = indices.shape
    layer = Conv(in_channels=C, out_channels=K, kernel=(R, S))
    graph = Graph(name="one", input_shape=(8, 8, C), nodes=(Node(name="a", layer=layer, inputs=(INPUT,)),))
    quantizer = Quantizer(cells={"a.weight": 0.5}, codebook=np.zeros(0))
    return CompressedNetwork(
        graph=graph,
        indices={"a.weight": indices},
        quantizer=quantizer,
        values={},
        winograd_m={},
        winograd_threshold=0.0,
    )


def test_a_writer_takes_the_coder_that_decodes_fast_where_it_costs_nothing():
    """Independent flags, which no context predicts: their entropy is the same for both."""
    rng = np.random.default_rng(1)
    compressed = one_layer((rng.random((64, 128, 3, 3)) < 0.3).astype(np.int32))
    assert encode_dual(compressed) == encode_dual(compressed, "static")
    half = one_layer(compressed.indices["a.weight"][:, :64])
    assert encode_dual(half) == encode_dual(half, "context")  # fewer than 2^16


def test_a_writer_takes_the_coder_that_adapts_where_it_is_smaller():
    """Rows of kernels of one magnitude each, of which ``static`` sees the first alone."""
    rng = np.random.default_rng(2)
    compressed = one_layer(np.repeat(rng.integers(1, 7, (64, 128, 3, 1)), 3, axis=3).astype(np.int32))
    content = encode_dual(compressed)
    assert content == encode_dual(compressed, "context")
    assert len(content) < len(encode_dual(compressed, "static"))


def test_the_same_content_gives_the_same_bytes():
    assert encode_dual(small_compressed()) == FILE
    assert encode_dual(small_compressed(seed=1)) != FILE


def test_tile_sizes_may_differ_by_layer():
    compressed = replace(small_compressed(), winograd_m={"a": 4})
    assert decode_dual(encode_dual(compressed), "x").winograd_m == {"a": 4}


def test_nothing_is_left_of_a_failed_write(tmp_path):
    compressed = small_compressed()
    bad = replace(compressed, winograd_threshold=-1.0)
    with pytest.raises(ValueError, match="threshold"):
        write_dual(tmp_path / "x.dual", bad)
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.dual: No such file"):
        read_dual(tmp_path / "none.dual")
    with pytest.raises(InputError, match="directory"):
        read_dual(tmp_path)
    (tmp_path / "empty.dual").write_bytes(b"")
    with pytest.raises(InputError, match=r"no \.dual file"):
        read_dual(tmp_path / "empty.dual")


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "large.dual").open("wb") as stream:
        stream.truncate(2 << 30)  # takes no room on disk
    start = time.process_time()
    with pytest.raises(InputError, match=r"2147483648 bytes, expected a \.dual file of at most"):
        read_dual(tmp_path / "large.dual")
    assert time.process_time() - start < 1


def huge(manifest):
    layer = manifest["graph"]["nodes"][3]["layer"]
    layer["out_channels"] = manifest["graph"]["nodes"][4]["layer"]["in_channels"] = 1 << 20


def endless(manifest):
    manifest["graph"]["nodes"][0]["layer"].update(kernel=[101, 101], padding=[50, 50])


def deep(manifest):
    for _ in range(500):
        manifest["provenance"] = {"x": manifest["provenance"]}


def scales(**changed):
    return {"arithmetic": {"kind": "spatial"}, "images": 1, "units": {"input": 1.0}, **changed}


CHANGES = {
    "a version to come": (lambda m: m.update(version=5), "version 5, this accelsim reads versions 1, 2, 3 and 4"),
    "version 1 with a digest": (lambda m: m.update(version=1), "version 1, expected 2 to 4 with a member digest"),
    "version 4 by another coder": (lambda m: m.update(version=4), "expected 4 with the coder static"),
    "the coder static in version 2": (lambda m: m.update(coder="static"), "expected 4 with the coder static"),
    "version 3 without calibrations": (lambda m: m.update(version=3), "expected 3 with calibrations"),
    "calibrations in version 2": (lambda m: m.update(calibrations=[scales()]), "expected 3 with calibrations"),
    "scales of no layer": (lambda m: m.update(version=3, calibrations=[scales(units={"z": 1})]), "'z' is no node"),
    "a scale of zero": (lambda m: m.update(version=3, calibrations=[scales(units={"a": 0})]), "calibrations.0.units"),
    "a scale beyond floats": (lambda m: m.update(version=3, calibrations=[scales(units={"a": 1e99})]), "calibrations"),
    "an endless shift": (
        lambda m: m.update(version=3, calibrations=[scales(input_shifts={"a": [[1 << 40]]})]),
        "calibrations.0.input_shifts",
    ),
    "calibrations without end": (lambda m: m.update(version=3, calibrations=[scales()] * 17), "calibrations"),
    "another format": (lambda m: m.update(format="onnx"), "no .dual file"),
    "an unknown key": (lambda m: m.update(extra=1), "extra"),
    "a missing key": (lambda m: m.pop("winograd"), "winograd: Field required"),
    "an unknown layer": (lambda m: m["graph"]["nodes"][0]["layer"].update(op="exec"), "op"),
    "a negative cell": (lambda m: m["quantization"].update(cell=-1), "quantization.cell"),
    "an endless cell": (lambda m: m["quantization"].update(cell=float("inf")), "quantization.cell"),
    "an overflowing cell": (lambda m: m["quantization"].update(cell=1e300), "not finite"),
    "a million channels": (huge, "parameters"),
    "a kernel of more steps than bytes": (endless, "steps of decoding"),
    "deep nesting": (deep, "provenance"),
    "long text": (lambda m: m["provenance"].update(x="y" * 2000), "provenance"),
    "an unknown coder": (lambda m: m.update(coder="exec"), "coder"),
    "a Winograd set beyond the eligible": (lambda m: m["winograd"].update(m={"c": 2}), "no convolution that Winograd"),
    "an unknown Winograd layer": (lambda m: m["winograd"].update(m={"../x": 2}), "no convolution that Winograd"),
    "an exponent too few": (lambda m: m["values"]["exponents"].popitem(), "exponents"),
    "a cell for no array": (lambda m: m["quantization"].update(cells={"z.weight": 1}), "no weight array"),
    "densities of a ReLU": (lambda m: m["values"].update(densities=["a_relu"]), "a_relu"),
    "a larger codebook": (lambda m: m["quantization"].update(codebook=30000), "damaged"),
    "a node twice": (lambda m: m["graph"]["nodes"][1].update(name="a"), "twice"),
    "a reference to nothing": (lambda m: m["graph"]["nodes"][1].update(inputs=["nothing"]), "no earlier node"),
    "nodes that are no list": (lambda m: m["graph"].update(nodes={"a": 1}), "nodes"),
    "more channels than coded": (
        lambda m: (
            m["graph"]["nodes"][3]["layer"].update(out_channels=24),
            m["graph"]["nodes"][4]["layer"].update(in_channels=24),
        ),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_malicious_manifest_is_refused(name):
    change, match = CHANGES[name]
    refused(with_manifest(change), match)


def test_other_members_are_refused():
    refused(rebuilt(manifest=b"\xff\xfe{"), "no JSON")
    refused(rebuilt(manifest=b"[" * 100_000), "no JSON")
    refused(rebuilt(manifest=b'{"format":"accelsim-dual","version":' + b"9" * 5000 + b"}"), "manifest.json")
    refused(rebuilt(manifest=bytes(9 << 20)), "at most")
    refused(rebuilt(weights=b""), "damaged")
    refused(rebuilt(weights=members()["weights"][:-8]), "damaged")
    refused(rebuilt(values=b""), "damaged")
    refused(rebuilt(values=members()["values"] + bytes(1)), "multiple of 4")
    refused(packed({**members(), "more": b""}), "members are")
    refused(
        packed({name: content for name, content in members().items() if name != "digest"}), "version 2, expected 2 to 4"
    )
    refused(pack({"manifest.json": members()["manifest.json"]}), "members are")


def test_what_was_altered_is_refused_by_its_digest(monkeypatch):
    """Sound archives around mutated members: no weight is decoded to find out."""
    parts = members()
    assert list(parts) == ["manifest.json", "weights", "values", "digest"]
    assert hashlib.sha256(b"".join(list(parts.values())[:3])).digest() == parts["digest"]
    monkeypatch.setattr(dual, "decode", None)
    for i, name in enumerate([*parts] * 25):
        mutation = next(mutations(parts[name], 1, seed=i))
        if mutation != parts[name]:
            with pytest.raises(InputError, match="digest"):
                decode_dual(packed({**parts, name: mutation}), "x.dual")


def test_a_digest_goes_with_other_figures_of_accuracy():
    again = with_accuracy(FILE, {"top1_spatial": 1.5})
    assert decode_dual(again, "x").accuracy == {"top1_spatial": 1.5}
    assert with_accuracy(again, {}) == FILE


@pytest.fixture
def version_1():
    """The file as it was before it had a digest."""
    parts = members()
    manifest = parts["manifest.json"].replace(b'"version":2', b'"version":1')
    return packed({"manifest.json": manifest, "weights": parts["weights"], "values": parts["values"]})


def test_version_1_is_read(version_1):
    old, new = decode_dual(version_1, "x"), decode_dual(FILE, "x")
    for name, array in new.network.arrays.items():
        np.testing.assert_array_equal(old.network.arrays[name], array)
    assert with_accuracy(version_1, {}) == FILE


@pytest.mark.parametrize("limit", ["UNDIGESTED_WEIGHTS", "UNDIGESTED_STEPS"])
def test_version_1_is_refused_where_decoding_takes_long(version_1, monkeypatch, limit):
    monkeypatch.setattr(dual, limit, 10)
    monkeypatch.setattr(dual, "decode", None)
    with pytest.raises(InputError, match="version 1, expected 2 with a member digest for a network of this size"):
        decode_dual(version_1, "x")


@pytest.mark.parametrize(("count", "shape"), [(1, (256, 1, 15, 17)), (1, (64, 64, 3, 3)), (14, (16, 16, 3, 3))])
def test_the_slowest_weights_that_version_1_may_hold_are_refused_within_a_second(count, shape):
    """Large, without a pattern, nearly as many or nearly as many steps as allowed; the checksum comes last of all."""
    shapes = [shape] * count
    assert coding_steps(shapes) <= dual.UNDIGESTED_STEPS
    assert sum(map(math.prod, shapes)) <= dual.UNDIGESTED_WEIGHTS
    rng = np.random.default_rng(0)
    content, _ = encode([rng.integers(-60, 61, shape).astype(np.int32) for shape in shapes], "context")
    damaged = bytes([content[0] ^ 1]) + content[1:]
    start = time.process_time()
    with pytest.raises(DamagedFile, match="checksum of the weights"):
        decode(damaged, shapes, "context")
    assert time.process_time() - start < 1


def mutations(content, count, seed):
    """Bits flipped, bytes changed, parts cut out, doubled, swapped or zeroed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        kind = rng.integers(6)
        first, last = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
        last = min(last, first + 64) if rng.random() < 0.5 else last
        if kind == 0:
            for _ in range(rng.integers(1, 9)):
                data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[rng.integers(len(data))] = rng.integers(256)
        elif kind == 2:
            del data[first:last]
        elif kind == 3:
            data[first:first] = data[first:last]
        elif kind == 4:
            data[first:last] = bytes(last - first)
        else:
            data[first:last] = rng.integers(0, 256, last - first, dtype=np.uint8).tobytes()
        yield bytes(data)


def survives(content, model, count, seed):
    """Every mutation gives one InputError, within a second, or is no mutation; returns how many were refused."""
    found = 0
    for mutation in mutations(content, count, seed):
        start = time.process_time()
        try:
            again = decode_dual(mutation, "x.dual")
        except InputError as error:
            message = str(error)
        else:
            assert mutation == content
            assert again.sha256 == model.sha256
            continue
        assert time.process_time() - start < 1
        assert "\n" not in message
        found += 1
    return found


def test_mutated_files_are_refused():
    assert survives(FILE, decode_dual(FILE, "x"), 400, seed=1) > 300


def mutated_members(count, seed):
    """Sound archives around mutated members, the digest made to fit: what gets past the checksums."""
    rng = np.random.default_rng(seed)
    parts = members()
    for i in range(count):
        name = list(parts)[rng.integers(3)]
        mutation = next(mutations(parts[name], 1, seed + i))
        yield rebuilt(**{name.removesuffix(".json"): mutation})


def decodes_or_refuses(count, seed):
    """How many were decoded and how many refused, in one line."""
    outcomes = {"decoded": 0, "refused": 0}
    for content in mutated_members(count, seed):
        try:
            model = decode_dual(content, "x.dual")
        except InputError as error:
            outcomes["refused"] += "\n" not in str(error)
        else:
            outcomes["decoded"] += all(np.isfinite(array).all() for array in model.network.arrays.values())
    assert sum(outcomes.values()) == count
    return outcomes


@pytest.mark.parametrize("position", range(0, 40, 3))
def test_no_bit_of_the_packed_manifest_goes_unnoticed(position):
    """Among them bits that mean nothing to bzip2: unused symbols, the code lengths of tables that no group uses."""
    start = FILE.index(b"BZh")
    size = int.from_bytes(FILE[18:22], "little")
    for byte in range(start + position, start + size, 40):
        for bit in range(8):
            flipped = bytearray(FILE)
            flipped[byte] ^= 1 << bit
            with pytest.raises(InputError):
                decode_dual(bytes(flipped), "x.dual")


def test_a_manifest_packed_in_another_way_is_refused():
    """The same content by bzip2 with smaller blocks: another tool's archive, sound in itself."""
    packed, content = bz2.compress(members()["manifest.json"], 1), members()["manifest.json"]
    size = int.from_bytes(FILE[18:22], "little")
    start = FILE.index(b"BZh")
    assert bz2.decompress(packed) == content
    assert len(packed) == size
    other = FILE[:start] + packed + FILE[start + size :]
    refused(other, "not the bytes that bzip2 packs")


def test_sound_archives_around_mutated_members_crash_nothing():
    assert min(decodes_or_refuses(40, seed=2).values()) > 0


@pytest.mark.slow
def test_ten_thousand_mutations():
    model = decode_dual(FILE, "x")
    assert survives(FILE, model, 10_000, seed=3) > 9_000
    assert min(decodes_or_refuses(2_000, seed=4).values()) > 0


def test_the_graph_of_the_tests_is_what_the_file_holds():
    assert [node.name for node in decode_dual(FILE, "x").network.graph.nodes] == [n.name for n in small_graph().nodes]
