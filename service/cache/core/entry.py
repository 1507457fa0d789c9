"""How a value lies in Redis: under a stamp, with a checksum, compressed if that pays.

The layout is stamp, checksum, header, payload. The stamp says under which generations the value was
loaded; the checksum is a CRC-32 of the name and all that follows, so that what was stored under one
name is never taken for what belongs to another; the header holds flags, when the value may be
refreshed (seconds of the Unix clock), and how many seconds loading it took.
"""

import struct
import zlib

import zstandard

from service.cache.core.store import Found

COMPRESSED_FROM = 1024
"""Bytes from which on compression pays: see ``docs/caching.md``."""
_LEVEL = 3
_CHECKSUM = struct.Struct("<I")
_HEADER = struct.Struct("<Bdf")
_COMPRESSED = 1
_LARGEST_BYTES = 64 * 2**20

_compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
_decompress = zstandard.ZstdDecompressor().decompress


class CorruptError(ValueError):
    """This is not what was stored."""


def pack(name: str, stamp: bytes, value: Found) -> bytes:
    """Write the value of a name."""
    payload, flags = value.payload, 0
    if len(payload) >= COMPRESSED_FROM:
        smaller = _compress(payload)
        if len(smaller) < len(payload):
            payload, flags = smaller, _COMPRESSED
    checked = _HEADER.pack(flags, value.soft, value.took) + payload
    return stamp + _CHECKSUM.pack(_checksum(name, checked)) + checked


def unpack(name: str, stamp: bytes, stored: bytes) -> Found | None:
    """Read the value of a name; None if it was loaded under another stamp.

    Raises:
        CorruptError: Something else was stored, or it was changed.
    """
    if not stored.startswith(stamp):
        return None
    begin = len(stamp) + _CHECKSUM.size
    checked = stored[begin:]
    if len(checked) < _HEADER.size:
        raise CorruptError("too short")
    if _CHECKSUM.unpack_from(stored, len(stamp)) != (_checksum(name, checked),):
        raise CorruptError("wrong checksum")
    flags, soft, took = _HEADER.unpack_from(checked)
    payload = checked[_HEADER.size :]
    if flags & _COMPRESSED:
        try:
            payload = _decompress(payload, max_output_size=_LARGEST_BYTES)
        except zstandard.ZstdError as error:
            raise CorruptError("not decompressible") from error
    return Found(payload, soft, took)


def _checksum(name: str, checked: bytes) -> int:
    return zlib.crc32(checked, zlib.crc32(name.encode()))
