"""Parameter and field types that several slices share.

Values that no database column can store are refused here, with the field named: NUL and other
control characters, and numbers beyond 64 bits.
"""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_ID = 2**63 - 1
MAX_PAGE = 100
MAX_UNKNOWN = 20
"""Unknown members of an object that are listed one by one."""

# Starts with a visible character, and has no control character.
LINE = r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
PROSE = r"^[^\x00]*$"


def _whole(value: object) -> object:
    # In JSON, 2 and 2.0 are the same integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
RowId = Annotated[int, Field(ge=1, le=MAX_ID), WHOLE]
PathId = Annotated[int, Path(ge=1, le=MAX_ID, description="its `id`")]

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="items on a page, at most")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="`next` of the page before; opaque")
]


class RequestBody(BaseModel):
    """Base of request bodies: no unknown members, no type coercion."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_many(cls, value: object) -> object:
        # Pydantic makes an error for each unknown member, which takes 20 microseconds.
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MAX_UNKNOWN:
            raise PydanticCustomError(
                "too_many_members",
                "has {members} members, of which at most {known} are known",
                {"members": len(value), "known": len(cls.model_fields)},
            )
        return value
