"""The ZIP archive around a ``.dual`` file.

One canonical byte string for given members, so that no byte goes unchecked.

Members are stored, except those packed with bzip2 (ZIP method 12; libbz2 is one implementation, so
the bytes are the same everywhere, unlike deflate's).  Dates, attributes and comments are fixed.
The reader rebuilds every header from what it parsed and refuses an archive that differs from it in
one
bit: what any ZIP tool can list and extract is read, what another tool has rewritten is not.
"""

import bz2
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.dual.coding.bzip2 import bunzip
from accelsim.dual.coding.damaged import DamagedFile

STORED = 0  # ZIP's number of the method
BZIP2 = 12
MAX_MEMBERS = 16

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_DATE = 0x21  # 1 January 1980, the first day that a ZIP archive can name


@dataclass(frozen=True)
class _Member:
    name: bytes
    method: int
    crc: int
    size: int
    packed: bytes | memoryview

    def local(self) -> bytes:
        version = 46 if self.method == BZIP2 else 20
        sizes = (self.crc, len(self.packed), self.size, len(self.name), 0)
        return _LOCAL.pack(b"PK\3\4", version, 0, self.method, 0, _DATE, *sizes) + self.name

    def central(self, offset: int) -> bytes:
        version = 46 if self.method == BZIP2 else 20
        sizes = (self.crc, len(self.packed), self.size, len(self.name), 0, 0, 0, 0, 0)
        return _CENTRAL.pack(b"PK\1\2", version, version, 0, self.method, 0, _DATE, *sizes, offset) + self.name


def pack(members: Mapping[str, bytes], compressed: frozenset[str] = frozenset()) -> bytes:
    """The archive of the members in their order.

    Those named in ``compressed`` are packed with bzip2.
    """
    records = []
    for name, content in members.items():
        method = BZIP2 if name in compressed else STORED
        packed = bz2.compress(content) if method == BZIP2 else content
        records.append(_Member(name.encode("ascii"), method, zlib.crc32(content), len(content), packed))
    return b"".join(_pieces(records))


def _pieces(members: list[_Member]) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    directory = []
    offset = 0
    for member in members:
        directory.append(member.central(offset))
        pieces += [member.local(), member.packed]
        offset += len(pieces[-2]) + len(pieces[-1])
    length = sum(map(len, directory))
    end = _END.pack(b"PK\5\6", 0, 0, len(members), len(members), length, offset, 0)
    return [*pieces, *directory, end]


def unpack(archive: bytes, max_member_bytes: int) -> dict[str, bytes]:
    """The members of an archive that ``pack`` wrote, by name.

    Raises DamagedFile if the archive is anything else, truncated, altered, or if a packed member
    would grow beyond ``max_member_bytes``; no more memory than that is taken to find out.
    """
    members: list[_Member] = []
    offset = 0
    whole = memoryview(archive)  # members are not copied
    while archive[offset : offset + 4] == b"PK\3\4":
        if len(members) == MAX_MEMBERS:
            raise DamagedFile(f"more than {MAX_MEMBERS} members")
        body = offset + _LOCAL.size
        if body > len(archive):
            raise DamagedFile(f"truncated in the header at byte {offset}")
        _, _, _, method, _, _, crc, packed_size, size, name_length, _ = _LOCAL.unpack_from(archive, offset)
        name = archive[body : body + name_length]
        start = body + name_length
        packed = whole[start : start + packed_size]
        if len(packed) < packed_size:
            raise DamagedFile(f"truncated: member at byte {offset} has {len(packed)} of its {packed_size} bytes")
        members.append(_Member(name, method, crc, size, packed))
        offset = start + packed_size
    if not members:
        raise DamagedFile("no .dual file: it does not start as a ZIP archive")
    if not _same(_pieces(members), whole):
        fault = "damaged, truncated or rewritten by another tool"
        raise DamagedFile(f"{fault}: its headers are not those it should have")
    contents: dict[str, bytes] = {}
    for member in members:
        title = member.name.decode("ascii", "backslashreplace")
        if title in contents:
            raise DamagedFile(f"member {title!r} is there twice")
        contents[title] = _content(member, title, max_member_bytes)
    return contents


def _same(pieces: list[bytes | memoryview], whole: memoryview) -> bool:
    """Whether the pieces, one after the other, are the whole."""
    offset = 0
    for piece in pieces:
        if whole[offset : offset + len(piece)] != piece:
            return False
        offset += len(piece)
    return offset == len(whole)


def _content(member: _Member, name: str, max_bytes: int) -> bytes:
    content = bytes(member.packed)
    if member.method == BZIP2:
        if member.size > max_bytes:
            raise DamagedFile(f"member {name!r} unpacks to {member.size} bytes, expected at most {max_bytes}")
        content = bunzip(content, member.size, f"member {name!r}")
    elif member.method != STORED:
        found = f"member {name!r} is packed by ZIP method {member.method}"
        raise DamagedFile(f"{found}, expected 0 (stored) or 12 (bzip2)")
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise DamagedFile(f"member {name!r} is damaged: its size or CRC-32 differs from its header")
    # A bzip2 stream has bits that mean nothing, and other streams unpack to the same.
    if member.method == BZIP2 and bz2.compress(content) != member.packed:
        raise DamagedFile(f"member {name!r} is damaged: not the bytes that bzip2 packs its content into")
    return content
