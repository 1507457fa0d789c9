"""How a value becomes bytes: JSON, under a mark that says what wrote it.

The layout is mark, kind, tag, JSON. The tag is a digest of the JSON, made once when the value is
filled; so whoever has the value already is told so without anything being written or read again.

Pydantic writes and validates its models and what is made of them; msgspec does the rest (builtins,
dataclasses, structs), several times as fast.

The mark is a digest of the type's JSON schema, so a release that changes a model never reads what
another release wrote: it takes it for a miss and overwrites it. The mark stands in the value and
not in the key, so that during a rolling release an invalidation by one release reaches what the
other one stored.
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
MARK_BYTES = 4
TAG_BYTES = 16
NOTHING = b"-"
SOMETHING = b"+"
_HEADER_BYTES = MARK_BYTES + len(SOMETHING) + TAG_BYTES


@dataclass(slots=True)  # not frozen: made at every hit, that would take 0.3 µs more
class Rendered:
    """A value as it is sent.

    Attributes:
        body: JSON.
        tag: 16 letters, digits, ``-`` and ``_``: equal for equal bodies of one type, in every
            process.
        again: Looks at what is cached in its place, and loads nothing; where it was cached.
    """

    body: bytes
    tag: str
    again: "Again | None" = field(default=None, compare=False)


Again = Callable[[], Awaitable[Rendered | None]]


@dataclass(frozen=True)
class Json(Generic[T]):
    """Writes and reads the JSON of one type, and tells its schema."""

    schema: dict[str, Any]
    write: Callable[[T], bytes]
    read: Callable[[bytes], T]


def _json(type_: type[T]) -> Json[T]:
    try:
        schema = msgspec.json.schema(type_)
    except TypeError:  # pydantic's, or made of what is
        return _pydantic(type_)
    # Not strict, as pydantic is not: a sum of integers may be a Decimal, which is written as text.
    decode = msgspec.json.Decoder(type_, strict=False).decode

    def read(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error

    return Json(schema, msgspec.json.encode, read)


def _pydantic(type_: type[T]) -> Json[T]:
    adapter: TypeAdapter[T] = TypeAdapter(type_)
    return Json(
        adapter.json_schema(),
        # No warnings: a model of the same shape, such as Page[Any] for Page[Product], is fine.
        partial(adapter.dump_json, round_trip=True, warnings=False),
        partial(adapter.validate_json, by_name=True, by_alias=False),
    )


class Codec(Generic[T]):
    """Writes and reads the values of one type.

    Args:
        type_: A pydantic model, a list of models, builtins, a dataclass or a struct.
        schema: Raise it when the meaning of a field changes but its shape does not.

    Raises:
        pydantic.PydanticUserError: The type has no JSON schema.
    """

    def __init__(self, type_: type[T], schema: int = 1) -> None:
        self._json = _json(type_)
        shape = json.dumps([LAYOUT, schema, self._json.schema], sort_keys=True, default=str)
        self._mark = hashlib.blake2b(shape.encode(), digest_size=MARK_BYTES).digest()
        self._nothing = self._mark + NOTHING
        self._something = self._mark + SOMETHING

    def encode(self, value: T | None) -> bytes:
        """Write a value; None is written as "there is none".

        Raises:
            TypeError, ValueError: The value cannot be written as JSON.
        """
        if value is None:
            return self._nothing
        body = self._json.write(value)
        digest = hashlib.blake2b(body, digest_size=TAG_BYTES * 3 // 4, key=self._mark).digest()
        return self._something + urlsafe_b64encode(digest) + body

    def fits(self, stored: bytes) -> bool:
        """Whether this release wrote a value."""
        return stored.startswith(self._mark)

    def is_nothing(self, stored: bytes) -> bool:
        """Whether it says that there is none."""
        return stored == self._nothing

    def decode(self, stored: bytes) -> T | None:
        """Read a value.

        Raises:
            ValueError: Another release, or something else, wrote it.
        """
        body = self._body(stored)
        return None if body is None else self._json.read(body)

    def rendered(self, stored: bytes, again: Again | None = None) -> Rendered | None:
        """Read a value as it is sent: nothing is parsed.

        Args:
            stored: What was cached.
            again: See ``Rendered``.

        Raises:
            ValueError: Another release, or something else, wrote it.
        """
        body = self._body(stored)
        if body is None:
            return None
        tag = stored[MARK_BYTES + len(SOMETHING) : _HEADER_BYTES].decode("ascii")
        return Rendered(body, tag, again)

    def _body(self, stored: bytes) -> bytes | None:
        if stored.startswith(self._something) and len(stored) > _HEADER_BYTES:
            return stored[_HEADER_BYTES:]
        if stored == self._nothing:
            return None
        raise ValueError("a cached value in another shape")
