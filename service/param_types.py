"""Kinds of input that several slices accept.

What no database column can hold is refused here, with its field named: NUL and other control
characters, and numbers beyond 64 bits.
"""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

LARGEST_ID = 2**63 - 1
LARGEST_PAGE = 100
MOST_UNKNOWN = 20
"""Members of an object that are told one by one not to be known."""

# Begins with a visible character, and has no control character.
LINE = r"^[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
PROSE = r"^[^\x00]*$"


def _whole(value: object) -> object:
    # To JSON, 2 and 2.0 are the same whole number.
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
RowId = Annotated[int, Field(ge=1, le=LARGEST_ID), WHOLE]
PathId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="its `id`")]

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="items on a page, at most")]
Cursor = Annotated[
    str | None, Query(max_length=2000, description="`next` of the page before; opaque")
]


class Body(BaseModel):
    """What a client sends: unknown members are mistakes, and values are what they seem."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_many(cls, value: object) -> object:
        # Pydantic makes an error of each unknown member, which takes 20 microseconds.
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MOST_UNKNOWN:
            raise PydanticCustomError(
                "too_many_members",
                "has {members} members, of which at most {known} are known",
                {"members": len(value), "known": len(cls.model_fields)},
            )
        return value
