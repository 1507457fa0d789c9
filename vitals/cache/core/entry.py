"""Binary format of a Redis entry: stamp, checksum, header, payload (compressed if that pays).

The stamp holds the tokens of the generations under which the value was loaded. The checksum is a
CRC-32 of the name and all that follows, so a value stored under one name is never accepted under
another. The header holds flags, the soft expiry (seconds of the Unix clock) and the seconds that
loading took.
"""

import struct
import zlib

import zstandard

from vitals.cache.core.store import CachedValue

COMPRESSED_FROM = 1024
"""Bytes from which compression pays: see ``docs/caching.md``."""
_LEVEL = 3
_CHECKSUM = struct.Struct("<I")
_HEADER = struct.Struct("<Bdf")
_COMPRESSED = 1
_LARGEST_BYTES = 64 * 2**20

_compress = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False).compress
_decompress = zstandard.ZstdDecompressor().decompress


class CorruptError(ValueError):
    """A stored entry is truncated, changed or of another name."""


def pack(name: str, stamp: bytes, value: CachedValue) -> bytes:
    """Encode the value of a name."""
    payload, flags = value.payload, 0
    if len(payload) >= COMPRESSED_FROM:
        smaller = _compress(payload)
        if len(smaller) < len(payload):
            payload, flags = smaller, _COMPRESSED
    checked = _HEADER.pack(flags, value.soft_expiry, value.load_seconds) + payload
    return stamp + _CHECKSUM.pack(_checksum(name, checked)) + checked


def unpack(name: str, stamp: bytes, stored: bytes) -> CachedValue | None:
    """Decode the value of a name; None if it was loaded under another stamp.

    Raises:
        CorruptError: The entry cannot be decoded.
    """
    if not stored.startswith(stamp):
        return None
    begin = len(stamp) + _CHECKSUM.size
    checked = stored[begin:]
    if len(checked) < _HEADER.size:
        raise CorruptError("too short")
    if _CHECKSUM.unpack_from(stored, len(stamp)) != (_checksum(name, checked),):
        raise CorruptError("wrong checksum")
    flags, soft_expiry, load_seconds = _HEADER.unpack_from(checked)
    payload = checked[_HEADER.size :]
    if flags & _COMPRESSED:
        try:
            payload = _decompress(payload, max_output_size=_LARGEST_BYTES)
        except zstandard.ZstdError as error:
            raise CorruptError("not decompressible") from error
    return CachedValue(payload, soft_expiry, load_seconds)


def _checksum(name: str, checked: bytes) -> int:
    return zlib.crc32(checked, zlib.crc32(name.encode()))
