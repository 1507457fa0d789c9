"""Codec of cached values: JSON, prefixed with a schema digest and an ETag.

The layout is schema digest, kind, ETag, JSON. The ETag is a digest of the JSON, computed once when
the value is filled, so a conditional request is answered without serialising or parsing anything.

Pydantic serialises and validates its models and containers of them; msgspec does the rest
(builtins, dataclasses, structs), several times as fast.

The schema digest is a digest of the type's JSON schema, so a release that changes a model never
reads what another release wrote: that is a miss, and the value is overwritten. The digest is in the
value and not in the key, so that during a rolling release an invalidation by one release reaches
what the other one stored.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from pydantic import TypeAdapter

T = TypeVar("T")

LAYOUT = 2  # raise it when the bytes around the JSON change
SCHEMA_DIGEST_BYTES = 4
ETAG_BYTES = 16
ABSENT = b"-"
PRESENT = b"+"
_HEADER_BYTES = SCHEMA_DIGEST_BYTES + len(PRESENT) + ETAG_BYTES


@dataclass(slots=True)  # not frozen: one is made at every hit, which would take 0.3 µs more
class Rendered:
    """A value that is ready to send.

    Attributes:
        body: JSON.
        etag: 16 letters, digits, ``-`` and ``_``: equal for equal bodies of one type, in every
            process.
        peek: Reads its cache entry again without loading; None where there is no entry.
    """

    body: bytes
    etag: str
    peek: "Peek | None" = field(default=None, compare=False)


Peek = Callable[[], Awaitable[Rendered | None]]


@dataclass(frozen=True)
class JsonFormat(Generic[T]):
    """JSON schema, serialiser and parser of one type."""

    schema: dict[str, Any]
    write: Callable[[T], bytes]
    read: Callable[[bytes], T]


def _json(type_: type[T]) -> JsonFormat[T]:
    try:
        schema = msgspec.json.schema(type_)
    except TypeError:  # a pydantic model, or a container of them
        return _pydantic(type_)
    # Not strict, like pydantic: a sum of integers may be a Decimal, which is written as text.
    decode = msgspec.json.Decoder(type_, strict=False).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error

    return JsonFormat(schema, msgspec.json.encode, read)


def _pydantic(type_: type[T]) -> JsonFormat[T]:
    adapter: TypeAdapter[T] = TypeAdapter(type_)
    return JsonFormat(
        adapter.json_schema(),
        # No warnings: a model of the same shape, such as Page[Any] for Page[Product], is fine.
        partial(adapter.dump_json, round_trip=True, warnings=False),
        partial(adapter.validate_json, by_name=True, by_alias=False),
    )


class Codec(Generic[T]):
    """Encodes and decodes the values of one type.

    Args:
        type_: A pydantic model, a list of models, builtins, a dataclass or a struct.
        version: Raise it when the meaning of a field changes but its shape does not.

    Raises:
        pydantic.PydanticUserError: The type has no JSON schema.
    """

    def __init__(self, type_: type[T], version: int = 1) -> None:
        self._json = _json(type_)
        shape = json.dumps([LAYOUT, version, self._json.schema], sort_keys=True, default=str)
        self._schema_digest = hashlib.blake2b(
            shape.encode(), digest_size=SCHEMA_DIGEST_BYTES
        ).digest()
        self._absent = self._schema_digest + ABSENT
        self._present = self._schema_digest + PRESENT

    def encode(self, value: T | None) -> bytes:
        """Encode a value; None becomes a negative entry.

        Raises:
            TypeError, ValueError: The value cannot be serialised as JSON.
        """
        if value is None:
            return self._absent
        body = self._json.write(value)
        digest = hashlib.blake2b(
            body, digest_size=ETAG_BYTES * 3 // 4, key=self._schema_digest
        ).digest()
        return self._present + urlsafe_b64encode(digest) + body

    def has_current_schema(self, stored: bytes) -> bool:
        """Whether the value was encoded with this release's schema."""
        return stored.startswith(self._schema_digest)

    def is_negative(self, stored: bytes) -> bool:
        """Whether it is a negative entry."""
        return stored == self._absent

    def decode(self, stored: bytes) -> T | None:
        """Decode a value.

        Raises:
            ValueError: It has another schema, or is not an encoded value.
        """
        body = self._body(stored)
        return None if body is None else self._json.read(body)

    def render(self, stored: bytes, peek: Peek | None = None) -> Rendered | None:
        """Return a value's JSON and ETag without parsing it; None for a negative entry.

        Args:
            stored: The encoded value.
            peek: See ``Rendered``.

        Raises:
            ValueError: It has another schema, or is not an encoded value.
        """
        body = self._body(stored)
        if body is None:
            return None
        etag = stored[SCHEMA_DIGEST_BYTES + len(PRESENT) : _HEADER_BYTES].decode("ascii")
        return Rendered(body, etag, peek)

    def _body(self, stored: bytes) -> bytes | None:
        if stored.startswith(self._present) and len(stored) > _HEADER_BYTES:
            return stored[_HEADER_BYTES:]
        if stored == self._absent:
            return None
        raise ValueError("cached value has another schema")
