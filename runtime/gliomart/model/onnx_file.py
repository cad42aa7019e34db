"""What an ONNX file holds, looked at before ONNX Runtime is given it.

ONNX Runtime runs whatever a file says: a loop without end, functions and operators of anybody's,
weights from other files. None of gliomart's models needs those, and without subgraphs what is left
is a plain sequence of operators, each of which runs once. ONNX Runtime tells nobody what a graph
is made of and the ``onnx`` package is heavier than the whole runtime, so the little that has to be
known is read from the protocol buffer itself. What the graph then asks for is bounded where it
runs (:mod:`gliomart.providers`, :mod:`gliomart.model.model`).

Field numbers are those of ``onnx.proto`` (ONNX IR version 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliomart.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Everything but the weights: graph, names, card. gliomart's own have less than 100 kB.
LARGEST_STRUCTURE = 4 * 2**20
# Parsed and resolved, every node and tensor takes kilobytes, however few bytes it has in the file.
MOST_PARTS = 10_000

# Messages that are looked into, by field of the message they lie in. They nest no deeper than this.
_MESSAGES = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
}
_REFUSED = {
    ("model", 20): "a training graph",
    ("model", 25): "functions of its own",
    ("graph", 15): "sparse tensors",
    ("attribute", 6): "a graph within the graph (such as a loop or a branch)",
    ("attribute", 11): "graphs within the graph",
    ("attribute", 22): "sparse tensors",
    ("attribute", 23): "sparse tensors",
    ("tensor", 13): "weights outside its file",
    ("tensor", 14): "weights outside its file",
}
_RAW_DATA = ("tensor", 9)
_DOMAIN = ("node", 7)
_METADATA = 14  # metadata_props of a model
_OUR_DOMAINS = (b"", b"ai.onnx")  # two names of ONNX's own operators

# Wire types of the protocol buffers encoding; groups (3 and 4) are not part of ONNX.
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
_LARGEST_TAG = 2**32


def check(content: bytes) -> None:
    """Refuse a model file that no exporter of gliomart's writes.

    Parameters
    ----------
    content
        The whole file.

    Raises
    ------
    ModelError
        It is no ONNX file, is larger than it may be beside its weights, or holds a subgraph,
        function, foreign operator, sparse tensor or reference to another file.
    """
    structure, parts = len(content), 0
    pending = [("model", 0, len(content))]
    while pending:
        message, start, end = pending.pop()
        for number, value, begin, _ in _fields(content, start, end):
            field = (message, number)
            if field in _REFUSED and (value or begin is not None):
                raise ModelError(f"the model has {_REFUSED[field]}, which is refused")
            if begin is None:
                continue
            if field in _MESSAGES:
                pending.append((_MESSAGES[field], begin, begin + value))
            elif field == _RAW_DATA:
                structure -= value
            elif field == _DOMAIN and content[begin : begin + value] not in _OUR_DOMAINS:
                domain = content[begin : begin + value].decode(errors="replace")
                raise ModelError(f"the model has operators of {domain[:80]}, which are refused")
        parts += message in {"node", "tensor"}
        if parts > MOST_PARTS:
            raise ModelError(f"the graph has more than {MOST_PARTS} nodes and tensors")
    if structure > LARGEST_STRUCTURE:
        raise ModelError(
            f"the model has {structure / 2**20:.0f} MiB beside its weights (card, graph, names);"
            f" at most {LARGEST_STRUCTURE // 2**20} are read"
        )


def with_metadata(content: bytes, key: str, value: str) -> bytes:
    """Replace one entry of a model's metadata; all other bytes stay as they are.

    Parameters
    ----------
    content
        The whole file, which :func:`check` has passed.
    key, value
        Of the entry, ``metadata_props`` in ``onnx.proto``; it is added where there is none.
    """
    entry = _message(1, key.encode()) + _message(2, value.encode())
    parts, at = [], 0
    for number, length, begin, start in _fields(content, 0, len(content)):
        if number == _METADATA and begin is not None:
            end = begin + length
            if _key(content, begin, end) == key.encode():
                parts.append(content[at:start])
                at = end
    parts.append(content[at:])
    first, *rest = parts if len(parts) > 1 else (content, b"")
    return b"".join([first, _message(_METADATA, entry), *rest])


def _key(content: bytes, start: int, end: int) -> bytes:
    """Read the key of an entry; the last of several counts."""
    key = b""
    for number, length, begin, _ in _fields(content, start, end):
        if number == 1 and begin is not None:
            key = content[begin : begin + length]
    return key


def _message(number: int, content: bytes) -> bytes:
    """Encode a field of a length and so many bytes."""
    return _encoded(number << 3 | _LENGTH) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    """Write a number, seven bits a byte, lowest first."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int | None, int]]:
    """Yield each field of a message.

    Yields
    ------
    Its number, its value or length, where its content begins (None of a number), and where it does.
    """
    while at < end:
        start = at
        tag, at = _varint(content, at)
        if tag >= _LARGEST_TAG:  # parsers that take it for a shorter one would see another field
            raise ModelError("not an ONNX file")
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, at = _varint(content, at)
            yield number, value, None, start
            continue
        if wire_type == _LENGTH:
            length, at = _varint(content, at)
        elif wire_type in _FIXED:
            length = _FIXED[wire_type]
        else:
            raise ModelError("not an ONNX file")
        if length > end - at:
            raise ModelError("not an ONNX file, or the end of it is missing")
        yield number, length, at if wire_type == _LENGTH else None, start
        at += length
    if at > end:
        raise ModelError("not an ONNX file, or the end of it is missing")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Read a number of at most 64 bits, seven a byte, lowest first; and tell where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at == len(content):
            break
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return value, at
    raise ModelError("not an ONNX file, or the end of it is missing")
