"""The archive: any ZIP tool reads it, and no bit of it can change unnoticed."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.dual.coding.damaged import DamagedFile
from accelsim.dual.container import pack, unpack
from tests.laws import law

MEMBERS = {"manifest.json": b'{"a": 1}' * 20, "weights": bytes(range(50)), "values": b""}
ARCHIVE = pack(MEMBERS, compressed=frozenset({"manifest.json"}))


def test_python_reads_what_we_write():
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        assert archive.getinfo("weights").compress_type == zipfile.ZIP_STORED


@law(50)
@given(
    members=st.dictionaries(
        st.text("abcdefghij.", min_size=1, max_size=12), st.binary(max_size=300), min_size=1, max_size=16
    ),
    compressed=st.sets(st.sampled_from("abcdefghij")),
)
def test_round_trip(members, compressed):
    archive = pack(members, frozenset(compressed))
    assert unpack(archive, 1000) == members
    assert archive == pack(members, frozenset(compressed))


def test_every_flipped_bit_is_found():
    harmless = 0
    for position in range(len(ARCHIVE)):
        for bit in range(8):
            damaged = bytearray(ARCHIVE)
            damaged[position] ^= 1 << bit
            try:
                assert unpack(bytes(damaged), 1 << 20) == MEMBERS  # a bit of the bzip2 stream that means nothing
                harmless += 1
            except DamagedFile:
                pass
    assert harmless < 40


def test_every_truncation_and_extension_is_found():
    for length in range(len(ARCHIVE)):
        with pytest.raises(DamagedFile):
            unpack(ARCHIVE[:length], 1 << 20)
    with pytest.raises(DamagedFile):
        unpack(ARCHIVE + b"\0", 1 << 20)


def test_another_tools_archive_is_refused_in_words():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", "{}")
    with pytest.raises(DamagedFile, match="rewritten by another tool"):
        unpack(stream.getvalue(), 1 << 20)
    with pytest.raises(DamagedFile, match="does not start as a ZIP"):
        unpack(b"\x89PNG" + bytes(100), 1 << 20)


def test_a_bomb_does_not_go_off():
    bomb = pack({"manifest.json": bytes(50_000_000)}, frozenset({"manifest.json"}))
    assert len(bomb) < 500
    with pytest.raises(DamagedFile, match="at most 1000"):
        unpack(bomb, 1000)
    lying = bytearray(bomb)  # says 100 bytes in both headers
    sizes = [at for at in range(len(bomb) - 4) if bomb[at : at + 4] == struct.pack("<I", 50_000_000)]
    for at in sizes:
        lying[at : at + 4] = struct.pack("<I", 100)
    with pytest.raises(DamagedFile, match="does not unpack to the 100 bytes"):
        unpack(bytes(lying), 1000)


def test_too_many_and_repeated_members_are_refused():
    with pytest.raises(DamagedFile, match="more than 16"):
        unpack(pack({f"m{i}": b"" for i in range(17)}), 10)
    twice = pack({"aa": b"1", "ab": b"2"}).replace(b"ab", b"aa")
    with pytest.raises(DamagedFile, match="twice"):
        unpack(twice, 10)
