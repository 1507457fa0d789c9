"""Pages by keyset: every page costs the same, however deep, and none is counted or skipped to.

A cursor holds the sort values of the last row seen. It is signed, and bound to its list, sort
order and filters: one from elsewhere is refused instead of showing a wrong page. Signing does not
hide: the values can be read by whoever holds the cursor, who saw that row anyway.
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
    """Some items and where the following ones are."""

    model_config = ConfigDict(json_schema_extra={"description": "Some items of a list."})

    items: list[T]
    next: str | None = Field(
        description="`cursor` of the next page; null on the last one",
        examples=["WzEsImlkIiw0Ml0.c2lnbmF0dXJl"],
    )


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """A page as the database gave it."""

    items: list[Row]
    next: str | None

    def as_page(self, model: type[Model]) -> Page[Model]:
        """The page on the wire, each row as ``model`` shows it."""
        items = [model.model_validate(row) for row in self.items]
        return Page[Any].model_construct(items=items, next=self.next)


@dataclass(frozen=True)
class Run:
    """Columns that follow each other in a sort order and go the same way.

    ``(a, b) < (x, y)`` of such columns is a single range of an index.
    """

    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False

    def at(self, values: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        """The rows that stand where these values do."""
        return and_(*(column == at for column, at in zip(self.columns, values, strict=True)))

    def after(self, values: Sequence[BindParameter[Any]]) -> ColumnElement[bool]:
        """The rows that come later than these values."""
        here, there = tuple_(*self.columns), tuple_(*values)
        return here < there if self.descending else here > there


def ascending(*columns: InstrumentedAttribute[Any]) -> Run:
    """Columns from the least value on."""
    return Run(columns)


def descending(*columns: InstrumentedAttribute[Any]) -> Run:
    """Columns from the greatest value on."""
    return Run(columns, descending=True)


class Sort:
    """A sort order: no column nullable, the last one unique.

    An index must have its columns in this order; where they go both ways, in these directions.

    Args:
        name: What clients call it.
        runs: Its columns, those that go the same way together.

    Attributes:
        columns: Of all runs.
        order: What to sort by.
        after: The rows after a place, given by ``parameters``: ranges, one after the other.
        readers: How each column's value comes out of a cursor; None where it is in it as it is.
    """

    def __init__(self, name: str, *runs: Run) -> None:
        self.name = name
        self.runs = runs
        self.columns = tuple(column for run in runs for column in run.columns)
        self.order = tuple(
            column.desc() if run.descending else column.asc()
            for run in runs
            for column in run.columns
        )
        # Built once: for each page anew, it would take longer than the database does.
        self.after = tuple(self._ranges())
        self.readers = tuple(
            datetime.fromisoformat if column.type.python_type is datetime else None
            for column in self.columns
        )

    def values(self, row: object) -> list[Any]:
        """Where ``row`` stands in this order."""
        return [getattr(row, column.key) for column in self.columns]

    @staticmethod
    def parameters(values: Sequence[Any]) -> dict[str, Any]:
        """A place, as the ranges of ``after`` take it."""
        return {f"after_{number}": value for number, value in enumerate(values)}

    def _ranges(self) -> Iterator[ColumnElement[bool]]:
        """What follows a place: ranges of the index, one after the other.

        One for each run: first the rest of what is equal in all runs before, at last what comes
        later in the first run. Joined by OR they would be no range, and read all before it.
        """
        names = self.parameters(self.columns)
        rest = iter([bindparam(name, type_=column.type) for name, column in names.items()])
        there = [list(islice(rest, len(run.columns))) for run in self.runs]
        for depth in reversed(range(len(self.runs))):
            equal = [run.at(at) for run, at in zip(self.runs[:depth], there, strict=False)]
            yield and_(*equal, self.runs[depth].after(there[depth]))


class Cursors:
    """Signs and reads cursors.

    Args:
        secrets: Whoever knows one can make cursors; they are shared by all workers. The first
            one signs, the others are being retired.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [hmac.digest(secret.encode(), b"page cursors", sha256) for secret in secrets]

    def seal(self, place: str, values: list[Any]) -> str:
        """Write a cursor.

        Args:
            place: The list with its sort order and filters, from :func:`place`.
            values: The sort values of the last row: numbers, texts, moments.
        """
        plain = [v.isoformat() if isinstance(v, datetime) else v for v in values]
        payload = msgspec.json.encode([VERSION, plain])
        return (
            urlsafe_b64encode(_sign(self._keys[0], place, payload) + payload).rstrip(b"=").decode()
        )

    def open(self, cursor: str, place: str, sort: Sort) -> list[Any]:
        """Read a cursor.

        Raises:
            BadCursorError: It was not made here, for this place, by this version.
        """
        try:
            written = cursor.encode("ascii")
            sealed = urlsafe_b64decode(written + b"=" * (-len(written) % 4))
        except ValueError as error:
            raise BadCursorError from error
        if urlsafe_b64encode(sealed).rstrip(b"=") != written:  # Python skips what is not base64
            raise BadCursorError
        signature, payload = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
        signed = (_sign(key, place, payload) for key in self._keys)
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
        place: str,
        limit: int,
        cursor: str | None,
    ) -> Rows[Row]:
        """Fetch one page of what ``statement`` selects.

        Raises:
            BadCursorError: The cursor belongs elsewhere.
        """
        parts: Iterable[Select[Row]] = (statement,)
        values = {}
        if cursor is not None:
            parts = (statement.where(later) for later in sort.after)  # most pages need only one
            values = sort.parameters(self.open(cursor, place, sort))
        rows: list[Row] = []
        for part in parts:
            # One row more than asked tells whether there is a next page.
            ordered = part.order_by(*sort.order).limit(limit + 1 - len(rows))
            rows += await session.scalars(ordered, values)
            if len(rows) > limit:
                break
        more = len(rows) > limit
        rows = rows[:limit]
        following = self.seal(place, sort.values(rows[-1])) if more else None
        return Rows(rows, following)


def place(name: str, sort: Sort, filters: Mapping[str, object]) -> str:
    """Name a list together with its sort order and filters."""
    return json.dumps([name, sort.name, sorted(filters.items())], default=str)


def link_next(request: Request, response: Response, page: Page[Any]) -> None:
    """Point to the next page in the header ``Link`` too (RFC 8288)."""
    if (link := link_to(request, page.next)) is not None:
        response.headers["Link"] = link


def link_to(request: Request, cursor: str | None) -> str | None:
    """The header ``Link`` to the page behind a cursor; None on the last page."""
    if cursor is None:
        return None
    url = request.url.include_query_params(cursor=cursor)
    return f'<{url.path}?{url.query}>; rel="next"'


class _Next(msgspec.Struct):
    next: str | None


_find_next = msgspec.json.Decoder(_Next).decode


def next_of(body: bytes) -> str | None:
    """The cursor in a page that is written already; its items are skipped, not read."""
    return _find_next(body).next


def _sign(key: bytes, place: str, payload: bytes) -> bytes:
    bound = sha256(place.encode()).digest() + payload
    return hmac.digest(key, bound, sha256)[:_SIGNATURE]


async def _of(request: Request) -> Cursors:
    cursors: Cursors = request.app.state.cursors
    return cursors


CursorsOf = Annotated[Cursors, Depends(_of)]
"""What reads and signs the cursors of the app that answers the request."""
