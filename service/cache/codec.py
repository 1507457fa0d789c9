"""How a value becomes bytes: JSON through pydantic, under a mark that says what wrote it.

The layout is mark, kind, tag, JSON. The tag is a digest of the JSON, made once when the value is
filled; so whoever has the value already is told so without anything being written or read again.

One encoding serves pydantic models, lists of them and builtins: ``TypeAdapter`` writes and
validates all of them. The mark is a digest of the type's JSON schema, so a release that changes a
model never reads what another release wrote: it takes it for a miss and overwrites it. The mark
stands in the value and not in the key, so that during a rolling release an invalidation by one
release reaches what the other one stored.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

LAYOUT = 2  # raise it when the bytes around the JSON change
MARK_BYTES = 4
TAG_BYTES = 16
NOTHING = b"-"
SOMETHING = b"+"
_HEADER_BYTES = MARK_BYTES + len(SOMETHING) + TAG_BYTES


@dataclass(frozen=True, slots=True)
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


class Codec(Generic[T]):
    """Writes and reads the values of one type.

    Args:
        type_: A pydantic model, a list of models, or builtins.
        schema: Raise it when the meaning of a field changes but its shape does not.

    Raises:
        pydantic.PydanticUserError: The type has no JSON schema.
    """

    def __init__(self, type_: type[T], schema: int = 1) -> None:
        self._adapter: TypeAdapter[T] = TypeAdapter(type_)
        shape = json.dumps(
            [LAYOUT, schema, self._adapter.json_schema()], sort_keys=True, default=str
        )
        self._mark = hashlib.blake2b(shape.encode(), digest_size=MARK_BYTES).digest()
        self._nothing = self._mark + NOTHING
        self._something = self._mark + SOMETHING

    def encode(self, value: T | None) -> bytes:
        """Write a value; None is written as "there is none".

        Raises:
            pydantic_core.PydanticSerializationError: The value cannot be written as JSON.
        """
        if value is None:
            return self._nothing
        # No warnings: a model of the same shape, such as Page[Any] for Page[Product], is fine.
        body = self._adapter.dump_json(value, round_trip=True, warnings=False)
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
        rendered = self.rendered(stored)
        if rendered is None:
            return None
        return self._adapter.validate_json(rendered.body, by_name=True, by_alias=False)

    def rendered(self, stored: bytes) -> Rendered | None:
        """Read a value as it is sent: nothing is parsed.

        Raises:
            ValueError: Another release, or something else, wrote it.
        """
        if stored.startswith(self._something) and len(stored) > _HEADER_BYTES:
            tag = stored[MARK_BYTES + len(SOMETHING) : _HEADER_BYTES].decode("ascii")
            return Rendered(stored[_HEADER_BYTES:], tag)
        if stored == self._nothing:
            return None
        raise ValueError("a cached value in another shape")
