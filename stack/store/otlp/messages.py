"""Messages of OTLP over HTTP: bounded bodies, gzip, protobuf and JSON.

Source: OTLP 1.x, https://opentelemetry.io/docs/specs/otlp/ ("OTLP/HTTP", "JSON Protobuf Encoding").
"""

import base64
import binascii
import json
import zlib
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from starlette.requests import Request

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
MAX_BYTES = 8_000_000
"""Of a body, before and after it is decompressed."""
_GZIP = 16 + zlib.MAX_WBITS
_IDS = ("traceId", "spanId", "parentSpanId")
_MAX_DEPTH = 60
AnyMessage = TypeVar("AnyMessage", bound=Message)


class InvalidMessageError(ValueError):
    """A body that is no message of OTLP; the text says why."""


class TooLargeError(ValueError):
    """A body above the bound."""


async def read(request: Request) -> bytes:
    """The body, as far as the bound.

    Raises:
        TooLargeError: It is longer.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise TooLargeError(f"at most {MAX_BYTES} bytes: send smaller batches")
        parts.append(part)
    return b"".join(parts)


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its content coding.

    Raises:
        InvalidMessageError: It is not gzip.
        TooLargeError: It is larger than `MAX_BYTES`.
    """
    if encoding in {"", "identity"}:
        return body
    members: list[bytes] = []  # RFC 1952 (2.2): there may be several
    size = 0
    while body:
        decompressor = zlib.decompressobj(_GZIP)
        try:
            # One more than is allowed: 0 would be without a bound.
            members.append(decompressor.decompress(body, MAX_BYTES - size + 1))
        except zlib.error as error:
            raise InvalidMessageError(f"not gzip: {error}") from error
        size += len(members[-1])
        if size > MAX_BYTES or decompressor.unconsumed_tail:
            raise TooLargeError(f"at most {MAX_BYTES} bytes, decompressed: send smaller batches")
        if not decompressor.eof:
            raise InvalidMessageError("the gzip data end too early")
        body = decompressor.unused_data
    return b"".join(members)


def decode(body: bytes, content_type: str, message: AnyMessage) -> AnyMessage:
    """Fill a message from a body.

    Raises:
        InvalidMessageError: It is not such a message.
    """
    try:
        if content_type == JSON:
            content = _with_base64(json.loads(body), 0)
            if not isinstance(content, dict):
                raise InvalidMessageError(f"not a {type(message).__name__}: not an object")
            json_format.ParseDict(content, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(body)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        text = f"not a {type(message).__name__}: {error}"
        raise InvalidMessageError(text[:300]) from error
    return message


def encode(message: Message, content_type: str) -> bytes:
    """A message as it is sent."""
    if content_type == JSON:
        text: str = json_format.MessageToJson(message, indent=None)
        return text.encode()
    content: bytes = message.SerializeToString()
    return content


def _with_base64(content: Any, depth: int) -> Any:
    """Ids are hexadecimal in OTLP's JSON, and base64 in that of protobuf."""
    if depth > _MAX_DEPTH:
        raise InvalidMessageError("nested too deeply")
    if isinstance(content, list):
        return [_with_base64(each, depth + 1) for each in content]
    if not isinstance(content, dict):
        return content
    for name, value in content.items():
        if name in _IDS and isinstance(value, str):
            try:
                content[name] = base64.b64encode(bytes.fromhex(value)).decode()
            except (ValueError, binascii.Error) as error:
                raise InvalidMessageError(f"{name} must be hexadecimal") from error
        else:
            content[name] = _with_base64(value, depth + 1)
    return content
