"""How a value lies in Redis: under a stamp, with a checksum, compressed if that pays.

The layout is stamp, header, payload. The stamp says under which generations the value was loaded;
the header holds flags, when it may be refreshed (seconds of the Unix clock), how many seconds
loading took, and a CRC-32 of the name and all that follows the stamp: what was stored under one
name is never taken for what belongs to another.
"""

import struct
import zlib

import zstandard

from service.cache.backend import Found

COMPRESSED_FROM = 1024
"""Bytes from which on compression pays: see ``docs/caching.md``."""
_LEVEL = 3
_HEADER = struct.Struct("<BdfI")
_CHECKSUM_BYTES = 4
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
    bare = _HEADER.pack(flags, value.soft, value.took, 0)
    checksum = _checksum(name, bare, payload)
    return stamp + _HEADER.pack(flags, value.soft, value.took, checksum) + payload


def unpack(name: str, stamp: bytes, stored: bytes) -> Found | None:
    """Read the value of a name; None if it was loaded under another stamp.

    Raises:
        CorruptError: Something else was stored, or it was changed.
    """
    if not stored.startswith(stamp):
        return None
    begin = len(stamp) + _HEADER.size
    if len(stored) < begin:
        raise CorruptError("too short")
    flags, soft, took, checksum = _HEADER.unpack_from(stored, len(stamp))
    payload = stored[begin:]
    header = stored[len(stamp) : begin - _CHECKSUM_BYTES]
    if _checksum(name, header + bytes(_CHECKSUM_BYTES), payload) != checksum:
        raise CorruptError("wrong checksum")
    if flags & _COMPRESSED:
        try:
            payload = _decompress(payload, max_output_size=_LARGEST_BYTES)
        except zstandard.ZstdError as error:
            raise CorruptError("not decompressible") from error
    return Found(payload, soft, took)


def _checksum(name: str, header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header, zlib.crc32(name.encode())))
