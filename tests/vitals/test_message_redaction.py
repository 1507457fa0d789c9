"""Values in exceptions and log messages are redacted."""

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests import servers
from vitals import Redaction
from vitals.message_redaction import MAX_TEXT_LENGTH, MessageRedactor

MESSAGE_REDACTOR = MessageRedactor(Redaction())
SECRET, WORD = "correct horse, battery", "correct"

ERRORS = (
    *(f"{SECRET!r}", f"no user {SECRET!r} here", f'relation "{SECRET}" does not exist'),
    *(f"invalid literal for int() with base 10: {SECRET!r}", f"could not convert: {SECRET!r}"),
    *(f"time data {SECRET!r} does not match", f"password={SECRET}", f"the token is {SECRET}"),
    *(f"x\nDETAIL:  Key (a)=({SECRET}) is there.", f"x\nDETALLE: Ya existe (a)=({SECRET})."),
    *(f"x\nLINE 1: SELECT {SECRET}\n         ^", f"x\nCONTEXT:  COPY t, line 1: {SECRET}"),
    f"invalid input for query argument $1: {SECRET} (value out of int32 range)",
    f"(1062, \"Duplicate entry '{SECRET}' for key 'users.email'\")",
    f"(a.B) x\n[SQL: SELECT '{SECRET}']\n[parameters: ('{SECRET}',)]\n(Background on this",
    f"(a.B) x\n[SQL: SELECT '{SECRET} [parameters: ]']\n(Background on this error at: y)",
    f"[type=int_parsing, input_value='{SECRET}, input_type=', input_type=str]",
    f"{{'type': 'int_parsing', 'loc': ('body', 'n'), 'input': {SECRET!r}}}",
    f"for url 'https://shop.example/items?q={WORD}'",
)
UNCHANGED_ERRORS = (
    "'NoneType' object has no attribute 'price_cents'",
    "No module named 'shop.orders'",
    "division by zero",
    "f() missing 1 required positional argument: 'item'",
    'duplicate key value violates unique constraint "users_email_key"',
    "(sqlite3.IntegrityError) UNIQUE constraint failed: t.name\n[SQL: INSERT INTO t VALUES (?)]",
    "[Errno 111] Connect call failed ('127.0.0.1', 5432)",
    "Expecting value: line 1 column 1 (char 0)",
    "name 'total' is not defined",
    "no free connection within 10 s (20 of 20 in use)",
    "[Errno 2] No such file or directory: '/etc/shop/settings.toml'",
)
UNCHANGED_MESSAGES = (
    "Application startup complete.",
    "Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
    "cache: 17 of 20 warmed in 3.5 s",
    "worker 3 (pid 4711) restarted after 12.5 s",
    "order 3f2a9c1e-8b7d-4c6e-9f1a-2b3c4d5e6f70 shipped to warehouse B2",
    "password reset for user 7",
    'HTTP Request: GET https://shop.example/items "HTTP/1.1 200 OK"',
)
STATED = (
    *("bad password x7kq", "the pin 12345 is wrong", "my_token 123456", "api key 4f5e6d7c"),
    *("card 4111 1111 1111 1111", "paid by 4111111111111111", "ssn 078-05-1120"),
    *("aB3dE5fG7hJ9kL2m", "DE89 3704 0044 0532 0130 00", "a=b", "token: x1", "{1", '"1"'),
    "AKIAIOSFODNN7EXAMPLE",
)


@pytest.mark.parametrize("text", ERRORS)
def test_values_in_exceptions_are_redacted(text: str) -> None:
    for redacted in (
        MESSAGE_REDACTOR.error(text),
        MESSAGE_REDACTOR.traceback(f"Traceback\nValueError: {text}"),
    ):
        assert "redacted" in redacted
        assert WORD not in redacted
        assert "battery" not in redacted


@pytest.mark.parametrize("text", UNCHANGED_ERRORS)
def test_the_rest_of_an_exception_text_is_kept(text: str) -> None:
    assert MESSAGE_REDACTOR.error(text) == text


@pytest.mark.parametrize("text", UNCHANGED_MESSAGES)
def test_an_ordinary_message_is_unchanged(text: str) -> None:
    assert MESSAGE_REDACTOR.log_message(text) == text


def test_a_long_message_is_truncated() -> None:
    assert len(MESSAGE_REDACTOR.error("ab " * MAX_TEXT_LENGTH)) < 2 * MAX_TEXT_LENGTH
    assert len(MESSAGE_REDACTOR.log_message("ab " * MAX_TEXT_LENGTH)) < 2 * MAX_TEXT_LENGTH


def test_a_traceback_keeps_its_frames_and_its_source() -> None:
    def fail() -> None:
        raise LookupError(f"password: {SECRET}")

    try:
        try:
            fail()
        except LookupError as error:
            raise ExceptionGroup(
                "two", [ValueError(f"was {SECRET!r}"), KeyError(SECRET)]
            ) from error
    except ExceptionGroup:
        redacted = MESSAGE_REDACTOR.traceback(traceback.format_exc())
    assert SECRET not in redacted
    for expected in ("in fail", "LookupError: password: [redacted]", "direct cause", "    fail()"):
        assert expected in redacted
    for expected in ("ExceptionGroup: two (2 sub-exceptions)", "KeyError: '[redacted]'", "    | "):
        assert expected in redacted


class Order(BaseModel):
    """A model to validate."""

    number: int
    name: str = Field(max_length=2)


def test_pydantic_input_is_redacted() -> None:
    values: dict[str, Any] = {"number": SECRET, "name": SECRET}
    with pytest.raises(ValueError, match="number") as caught:
        Order(**values)
    redacted = MESSAGE_REDACTOR.error(str(caught.value))
    assert WORD not in redacted
    reasons = ("Input should be a valid integer", "value is not a valid integer")  # of pydantic 1
    assert any(f"number\n  {reason}" in redacted for reason in reasons)


FAILING: tuple[tuple[str, Any], ...] = (
    ("INSERT INTO t (x) VALUES (:v)", SECRET),  # twice
    ("INSERT INTO t (n) VALUES (:v)", SECRET),
    ("SELECT CAST(:v AS int)", SECRET),
    ("SELECT CAST(CAST(:v AS text) AS date)", SECRET),
    ("SELECT CAST(CAST(:v AS text) AS json)", SECRET),
    ("SELECT CAST(CAST(:v AS text) AS uuid)", SECRET),
    (f"SELECT '{SECRET}'::inet", None),
    (f"SELECT nowhere('{SECRET}')", None),
    (f"SELECT 1 WHERE x = '{SECRET}", None),
)


@pytest.mark.servers
@pytest.mark.anyio
async def test_values_in_statements_are_redacted(postgres: servers.Postgres) -> None:
    url = postgres.database()
    redacted: list[str] = []

    def note(error: DBAPIError) -> None:
        redacted.extend(
            MESSAGE_REDACTOR.error(str(each)) for each in (error, error.orig, error.__cause__)
        )
        redacted.append(MESSAGE_REDACTOR.traceback("".join(traceback.format_exception(error))))

    def statements() -> list[tuple[str, dict[str, Any]]]:
        made = [(sql.replace("::", "\\:\\:"), {"v": v} if v else {}) for sql, v in FAILING]
        return [made[0], *made]

    asynchronous = create_async_engine(url)
    async with asynchronous.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x text UNIQUE, n int)"))
    for sql, values in statements():
        try:
            async with asynchronous.begin() as connection:
                await connection.execute(text(sql), values)
        except DBAPIError as error:
            note(error)
    await asynchronous.dispose()
    plain = create_engine(url.replace("+asyncpg", "+psycopg"))
    for sql, values in statements():
        try:
            with plain.begin() as direct:
                direct.execute(text(sql), values)
        except DBAPIError as error:
            note(error)
    plain.dispose()
    assert len(redacted) >= 4 * 16
    leaks = [text for text in redacted if "correct" in text or "horse" in text or "battery" in text]
    assert leaks == []
    assert any("invalid input syntax for type" in text for text in redacted)
    assert any("t_x_key" in text for text in redacted)


@given(
    st.lists(
        st.text("aB01 .,-_/()%:='\"{}\n") | st.sampled_from((*UNCHANGED_MESSAGES, *STATED)),
        min_size=1,
        max_size=3,
    )
)
def test_ordinary_messages_are_those_that_redaction_would_not_change(texts: list[str]) -> None:
    if MESSAGE_REDACTOR.are_ordinary(texts):
        assert [MESSAGE_REDACTOR.log_message(text) for text in texts] == texts


def test_messages_with_numbers_are_ordinary_and_secrets_beside_them_are_not() -> None:
    assert MESSAGE_REDACTOR.are_ordinary(["bought 17 of apples", "worker 3 (pid 4711) ended"])
    for stated in STATED:
        assert not MESSAGE_REDACTOR.are_ordinary(["bought 17 of apples", stated]), stated
