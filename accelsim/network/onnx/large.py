"""An ONNX file without its large constants' numbers, which are read from the file one by one when they are wanted.

The onnx package holds a file whole, and its numbers once more, as protobuf parses it: for a network of hundreds of
megabytes that is most of the memory of an import.  So the outer fields of the file are walked here (protobuf's wire
format: a key, then a number, or a length and so many bytes), and what the package parses lacks the ``raw_data`` of the
graph's large constants.  Whatever is not as exporters write it is left to the package as it is.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LARGE = 1 << 16  # bytes of a constant that is left in the file
MOST_FIELDS = 1 << 20  # that are walked; a file of more is parsed whole
MOST_VARINT = 10  # bytes
BYTES = 2  # the kind of a field that holds a length and so many bytes
GRAPH = 7  # of ModelProto
INITIALIZER = 5  # of GraphProto
NAME, RAW_DATA = 8, 9  # of TensorProto

Span = tuple[int, int]  # first byte and the one behind the last, in the file


class _Odd(Exception):
    """A file that is to be parsed whole."""


@dataclass(frozen=True)
class _Field:
    number: int
    kind: int
    start: int  # of its key
    content: int  # of what is behind key and length
    end: int


def without_large(stream: BinaryIO) -> tuple[bytes, dict[str, Span]]:
    """(the file without its large constants' numbers, where those lie in the file, by the constants' names).

    What is left is an ONNX file, too.  A file that is none, or an odd one, comes back whole, and nothing by name.
    """
    size = os.fstat(stream.fileno()).st_size
    try:
        return _Walk(stream).model(size)
    except _Odd:
        stream.seek(0)
        return stream.read(size), {}


class _Walk:
    """A walk through a file."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.left = MOST_FIELDS
        self.large: dict[str, Span] = {}

    def model(self, size: int) -> tuple[bytes, dict[str, Span]]:
        graphs = [field for field in self._fields(0, size) if (field.number, field.kind) == (GRAPH, BYTES)]
        if len(graphs) != 1:
            raise _Odd
        (graph,) = graphs
        inner = self._graph(graph)
        graph_is = _varint(GRAPH << 3 | BYTES) + _varint(len(inner)) + inner
        return self._read(0, graph.start) + graph_is + self._read(graph.end, size), self.large

    def _graph(self, graph: _Field) -> bytes:
        """What the graph holds, without its large constants' numbers."""
        parts = []
        kept = graph.content
        for field in self._fields(graph.content, graph.end):
            if (field.number, field.kind) != (INITIALIZER, BYTES) or field.end - field.content < LARGE:
                continue
            raw = self._raw_data(field)
            if raw is None:
                continue
            parts.append(self._read(kept, field.start))
            tensor = self._read(field.content, raw.start) + self._read(raw.end, field.end)
            parts.append(_varint(INITIALIZER << 3 | BYTES) + _varint(len(tensor)) + tensor)
            kept = field.end
        parts.append(self._read(kept, graph.end))
        return b"".join(parts)

    def _raw_data(self, tensor: _Field) -> _Field | None:
        """The large numbers of a constant, which are noted by its name; None if it holds none."""
        fields = list(self._fields(tensor.content, tensor.end))
        raw = [field for field in fields if (field.number, field.kind) == (RAW_DATA, BYTES)]
        names = [field for field in fields if (field.number, field.kind) == (NAME, BYTES)]
        if not raw:
            return None
        if len(raw) != 1 or len(names) != 1 or names[0].end - names[0].content > LARGE:
            raise _Odd
        if raw[0].end - raw[0].content < LARGE:
            return None
        try:
            name = self._read(names[0].content, names[0].end).decode()
        except UnicodeDecodeError:
            raise _Odd from None
        if name in self.large:
            raise _Odd
        self.large[name] = (raw[0].content, raw[0].end)
        return raw[0]

    def _fields(self, start: int, end: int) -> Iterator[_Field]:
        """The fields between two places.  Raises _Odd if they do not fill them."""
        at = start
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise _Odd
            ahead = self._read(at, min(end, at + 2 * MOST_VARINT))
            key, used = _number(ahead, 0)
            content = at + used
            match key & 7:
                case 0:  # a number
                    stop = at + _number(ahead, used)[1]
                case 1:
                    stop = content + 8
                case 2:  # BYTES
                    length, used = _number(ahead, used)
                    content = at + used
                    stop = content + length
                case 5:
                    stop = content + 4
                case _:
                    raise _Odd
            if stop > end:
                raise _Odd
            yield _Field(number=key >> 3, kind=key & 7, start=at, content=content, end=stop)
            at = stop

    def _read(self, start: int, end: int) -> bytes:
        found = os.pread(self.stream.fileno(), end - start, start)
        if len(found) != end - start:
            raise _Odd
        return found


def _number(content: bytes, at: int) -> tuple[int, int]:
    """(a number of seven bits a byte, the lowest first; where it ends).  Raises _Odd if it does not end."""
    found = 0
    for i, byte in enumerate(content[at : at + MOST_VARINT]):
        found |= (byte & 127) << 7 * i
        if byte < 128:
            return found, at + i + 1
    raise _Odd


def _varint(number: int) -> bytes:
    """A number as ``_number`` reads it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
