"""Keyset pagination: every page costs the same, however deep, without OFFSET or COUNT.

A cursor holds the sort values of the last row seen. It is signed, and bound to its list, sort
order and filters: a cursor of another list is refused instead of showing a wrong page. It is not
encrypted: its holder can read the values, but has seen that row anyway.
"""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from service.errors import BadCursorError

T = TypeVar("T")
Row = TypeVar("Row")
Model = TypeVar("Model", bound=BaseModel)

VERSION = 1
_SIGNATURE = 16  # bytes


class Page(BaseModel, Generic[T]):
    """A page of items, with the cursor of the next page."""

    model_config = ConfigDict(json_schema_extra={"description": "Some items of a list."})

    items: list[T]
    next: str | None = Field(
        description="`cursor` of the next page; null on the last one",
        examples=["WzEsImlkIiw0Ml0.c2lnbmF0dXJl"],
    )


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """A page of database rows."""

    items: list[Row]
    next: str | None

    def as_page(self, model: type[Model]) -> Page[Model]:
        """Convert each row to ``model``."""
        items = [model.model_validate(row) for row in self.items]
        return Page[Any].model_construct(items=items, next=self.next)


@dataclass(frozen=True)
class SortColumns:
    """Consecutive columns of a sort order with the same direction.

    ``(a, b) < (x, y)`` of such columns is a single range of an index.
    """

    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False

    def at(self, values: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        """Return the condition for rows equal to these values."""
        return and_(*(column == at for column, at in zip(self.columns, values, strict=True)))

    def after(self, values: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        """Return the condition for rows after these values."""
        here, there = tuple_(*self.columns), tuple_(*values)
        return here < there if self.descending else here > there


def ascending(*columns: InstrumentedAttribute[Any]) -> SortColumns:
    """Sort by columns in ascending order."""
    return SortColumns(columns)


def descending(*columns: InstrumentedAttribute[Any]) -> SortColumns:
    """Sort by columns in descending order."""
    return SortColumns(columns, descending=True)


class Sort:
    """A sort order: no column nullable, the last one unique.

    An index must have its columns in this order; with mixed directions, in these directions.

    Args:
        name: Of the query parameter.
        groups: Its columns, grouped by direction.

    Attributes:
        columns: Of all groups.
        order: Arguments of ORDER BY.
        after: Conditions for the rows after the values in ``parameters``: consecutive ranges.
        readers: Decoder of each column's value in a cursor; None where it needs none.
    """

    def __init__(self, name: str, *groups: SortColumns) -> None:
        self.name = name
        self.groups = groups
        self.columns = tuple(column for group in groups for column in group.columns)
        self.order = tuple(
            column.desc() if group.descending else column.asc()
            for group in groups
            for column in group.columns
        )
        # Built once: building it for each page would take longer than the query.
        self.after = tuple(self._ranges())
        self.readers = tuple(
            datetime.fromisoformat if column.type.python_type is datetime else None
            for column in self.columns
        )

    def values(self, row: object) -> list[Any]:
        """Return the sort values of ``row``."""
        return [getattr(row, column.key) for column in self.columns]

    @staticmethod
    def parameters(values: Sequence[Any]) -> dict[str, Any]:
        """Return sort values as the parameters of ``after``."""
        return {f"after_{number}": value for number, value in enumerate(values)}

    def _ranges(self) -> Iterator[ColumnElement[bool]]:
        """Yield the conditions of the following rows: consecutive ranges of the index.

        One for each group: first the rest of the rows that are equal in all groups before, at last
        those after the first group's values. Joined by OR they would be no index range, and all
        rows before would be read.
        """
        names = self.parameters(self.columns)
        rest = iter([bindparam(name, type_=column.type) for name, column in names.items()])
        there = [list(islice(rest, len(group.columns))) for group in self.groups]
        for depth in reversed(range(len(self.groups))):
            equal = [group.at(at) for group, at in zip(self.groups[:depth], there, strict=False)]
            yield and_(*equal, self.groups[depth].after(there[depth]))


class Cursors:
    """Encodes and verifies cursors.

    Args:
        secrets: Signing secrets, shared by all workers. The first one signs, the others are being
            retired.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [hmac.digest(secret.encode(), b"page cursors", sha256) for secret in secrets]

    def encode(self, listing: str, values: list[Any]) -> str:
        """Encode and sign a cursor.

        Args:
            listing: The list with its sort order and filters, from :func:`listing_id`.
            values: The sort values of the last row: numbers, texts, datetimes.
        """
        plain = [v.isoformat() if isinstance(v, datetime) else v for v in values]
        payload = msgspec.json.encode([VERSION, plain])
        return (
            urlsafe_b64encode(_sign(self._keys[0], listing, payload) + payload)
            .rstrip(b"=")
            .decode()
        )

    def decode(self, cursor: str, listing: str, sort: Sort) -> list[Any]:
        """Verify and decode a cursor.

        Raises:
            BadCursorError: It was not signed by us, or is of another list or version.
        """
        try:
            written = cursor.encode("ascii")
            sealed = urlsafe_b64decode(written + b"=" * (-len(written) % 4))
        except ValueError as error:
            raise BadCursorError from error
        if urlsafe_b64encode(sealed).rstrip(b"=") != written:  # Python skips what is not base64
            raise BadCursorError
        signature, payload = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
        signed = (_sign(key, listing, payload) for key in self._keys)
        if not any(hmac.compare_digest(signature, one) for one in signed):
            raise BadCursorError
        version, plain = msgspec.json.decode(payload)
        if version != VERSION or len(plain) != len(sort.columns):
            raise BadCursorError
        return [
            value if read is None else read(value)
            for read, value in zip(sort.readers, plain, strict=True)
        ]

    async def page(
        self,
        session: AsyncSession,
        statement: Select[Row],
        sort: Sort,
        *,
        listing: str,
        limit: int,
        cursor: str | None,
    ) -> Rows[Row]:
        """Fetch one page of what ``statement`` selects.

        Raises:
            BadCursorError: The cursor belongs to another list.
        """
        parts: Iterable[Select[Row]] = (statement,)
        values = {}
        if cursor is not None:
            parts = (statement.where(later) for later in sort.after)  # most pages need only one
            values = sort.parameters(self.decode(cursor, listing, sort))
        rows: list[Row] = []
        for part in parts:
            # One row more than requested shows whether there is a next page.
            ordered = part.order_by(*sort.order).limit(limit + 1 - len(rows))
            rows += await session.scalars(ordered, values)
            if len(rows) > limit:
                break
        more = len(rows) > limit
        rows = rows[:limit]
        following = self.encode(listing, sort.values(rows[-1])) if more else None
        return Rows(rows, following)


def listing_id(name: str, sort: Sort, filters: Mapping[str, object]) -> str:
    """Return an id of a list with its sort order and filters."""
    return json.dumps([name, sort.name, sorted(filters.items())], default=str)


def link_next(request: Request, response: Response, page: Page[Any]) -> None:
    """Set the header ``Link`` to the next page (RFC 8288)."""
    if (link := link_to(request, page.next)) is not None:
        response.headers["Link"] = link


def link_to(request: Request, cursor: str | None) -> str | None:
    """Return the header ``Link`` to the page of a cursor; None on the last page."""
    if cursor is None:
        return None
    url = request.url.include_query_params(cursor=cursor)
    return f'<{url.path}?{url.query}>; rel="next"'


class _Next(msgspec.Struct):
    next: str | None


_find_next = msgspec.json.Decoder(_Next).decode


def next_of(body: bytes) -> str | None:
    """Return the next cursor of a serialised page; its items are skipped, not parsed."""
    return _find_next(body).next


def _sign(key: bytes, listing: str, payload: bytes) -> bytes:
    bound = sha256(listing.encode()).digest() + payload
    return hmac.digest(key, bound, sha256)[:_SIGNATURE]


async def _of(request: Request) -> Cursors:
    cursors: Cursors = request.app.state.cursors
    return cursors


CursorsOf = Annotated[Cursors, Depends(_of)]
"""The cursors of the app that handles the request."""
