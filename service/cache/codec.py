"""How a value becomes bytes: JSON through pydantic, under a mark that says what wrote it.

One encoding serves pydantic models, lists of them and builtins: ``TypeAdapter`` writes and
validates all of them. The mark is a digest of the type's JSON schema, so a release that changes a
model never reads what another release wrote: it takes it for a miss and overwrites it. The mark
stands in the value and not in the key, so that during a rolling release an invalidation by one
release reaches what the other one stored.
"""

import hashlib
import json
from typing import Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

MARK_BYTES = 4
NOTHING = b"-"
SOMETHING = b"+"


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
        shape = json.dumps([schema, self._adapter.json_schema()], sort_keys=True, default=str)
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
        return self._something + self._adapter.dump_json(value, round_trip=True, warnings=False)

    def decode(self, stored: bytes) -> T | None:
        """Read a value.

        Raises:
            ValueError: Another release, or something else, wrote it.
        """
        if stored.startswith(self._something):
            return self._adapter.validate_json(
                stored[MARK_BYTES + 1 :], by_name=True, by_alias=False
            )
        if stored == self._nothing:
            return None
        raise ValueError("a cached value in another shape")
