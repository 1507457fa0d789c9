"""Samples sent to Prometheus by remote write, as fast as it takes them.

Series of many instances share their samples, so these are encoded once: protobuf's messages are
concatenated as bytes, in one uncompressed block of snappy's format.
"""

import http.client
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from stack.readiness import LOOPBACK

_BATCH = 2_000_000
"""Bytes of a request."""
_SENDERS = 2
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def _number(value: int) -> bytes:
    """Write a varint."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _message(field: int, content: bytes) -> bytes:
    return bytes((field << 3 | 2,)) + _number(len(content)) + content


def encode_label(name: str, value: str) -> bytes:
    """Encode a label."""
    return _message(1, _message(1, name.encode()) + _message(2, value.encode()))


def encode_labels(labels: Mapping[str, str]) -> bytes:
    """Encode labels, in the order that Prometheus wants."""
    return b"".join(encode_label(name, labels[name]) for name in sorted(labels))


def encode_samples(samples: Iterable[tuple[int, float]]) -> bytes:
    """Encode samples: pairs of Unix time and value."""
    return b"".join(
        _message(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _number(at * 1000))
        for at, value in samples
    )


def push(port: int, series: Iterable[bytes]) -> int:
    """Send series, each its encoded labels and samples; returns how many.

    Raises:
        RuntimeError: Prometheus refused some; the message says why.
    """
    taken, lock = iter(series), threading.Lock()

    def send(_: int) -> int:
        sent = 0
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=600)
        try:
            while True:
                with lock:
                    parts = _batch(taken)
                if not parts:
                    return sent
                body = _block(b"".join(parts))
                connection.request("POST", "/api/v1/write", body, _HEADERS)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status // 100 != 2:
                    raise RuntimeError(f"remote write: {answer.status} {text[:300]!r}")
                sent += len(parts)
        finally:
            connection.close()

    with ThreadPoolExecutor(_SENDERS) as senders:
        return sum(senders.map(send, range(_SENDERS)))


def _batch(series: Iterator[bytes]) -> list[bytes]:
    size, parts = 0, []
    for each in series:
        parts.append(_message(1, each))
        size += len(each)
        if size > _BATCH:
            break
    return parts


def _block(content: bytes) -> bytes:
    """One literal of snappy's format."""
    literal = b"\xfc" + struct.pack("<I", len(content) - 1)
    return _number(len(content)) + literal + content
