import json
import string
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service import pagination
from service.errors import BadCursorError
from service.pagination import Cursors, Sort, ascending, descending, listing_id
from service.products.tables import Product
from tests.service.running import Service

NAME = Sort("name", ascending(Product.name, Product.id))
NEWEST = Sort("newest", descending(Product.created_at, Product.id))
CURSORS = Cursors("a key that only tests use")
HERE = listing_id("products", NAME, {"category": "office"})


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 2**63 - 1))
def test_cursor_round_trip(name: str, product_id: int) -> None:
    cursor = CURSORS.encode(HERE, [name, product_id])
    assert CURSORS.decode(cursor, HERE, NAME) == [name, product_id]


def test_datetimes_keep_microseconds() -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
    cursor = CURSORS.encode(HERE, [moment, 7])
    assert CURSORS.decode(cursor, HERE, NEWEST) == [moment, 7]


@given(st.text(max_size=200))
def test_unsigned_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursorError):
        CURSORS.decode(cursor, HERE, NAME)


@pytest.mark.parametrize(
    "junk", ["{}=", "{}==", "{} ", " {}", "{}\n", "{}!", "!{}", "{}.", "{}AA", "{}A", "{}-_", "{}é"]
)
def test_cursor_with_extra_characters_is_refused(junk: str) -> None:
    for values in (["Oak desk", 1], ["Oak desk", 12], ["Oak desk", 123]):  # every length modulo 3
        cursor = CURSORS.encode(HERE, values)
        with pytest.raises(BadCursorError):
            CURSORS.decode(junk.format(cursor), HERE, NAME)
        with pytest.raises(BadCursorError):
            CURSORS.decode(cursor[:9] + junk.format("")[:1] + cursor[9:], HERE, NAME)


def test_cursor_encoding_is_canonical() -> None:
    letters = string.ascii_letters + string.digits + "-_"
    for values in (["Oak desk", 1], ["Oak desk", 12], ["Oak desk", 123]):
        cursor = CURSORS.encode(HERE, values)
        for last in letters.replace(cursor[-1], ""):
            with pytest.raises(BadCursorError):
                CURSORS.decode(cursor[:-1] + last, HERE, NAME)


@given(st.integers(0, 60), st.integers(1, 255))
def test_changed_byte_is_detected(position: int, change: int) -> None:
    sealed = bytearray(
        urlsafe_b64decode(padded(CURSORS.encode(HERE, ["Oak desk", 12345678901234])))
    )
    sealed[position % len(sealed)] ^= change
    with pytest.raises(BadCursorError):
        CURSORS.decode(urlsafe_b64encode(sealed).rstrip(b"=").decode(), HERE, NAME)


@pytest.mark.parametrize(
    "elsewhere",
    [
        listing_id("users", NAME, {"category": "office"}),
        listing_id("products", NEWEST, {"category": "office"}),
        listing_id("products", NAME, {"category": "garden"}),
        listing_id("products", NAME, {}),
    ],
)
def test_a_cursor_is_bound_to_list_sort_and_filters(elsewhere: str) -> None:
    cursor = CURSORS.encode(HERE, ["Oak desk", 1])
    with pytest.raises(BadCursorError):
        CURSORS.decode(cursor, elsewhere, NAME)


def test_cursor_of_another_key_is_refused() -> None:
    cursor = Cursors("another key").encode(HERE, ["Oak desk", 1])
    with pytest.raises(BadCursorError):
        CURSORS.decode(cursor, HERE, NAME)


def test_previous_key_still_verifies() -> None:
    cursor = Cursors("the key before").encode(HERE, ["Oak desk", 1])
    rotated = Cursors("a key that only tests use", "the key before")
    assert rotated.decode(cursor, HERE, NAME) == ["Oak desk", 1]
    with pytest.raises(BadCursorError):
        Cursors("the key before").decode(rotated.encode(HERE, ["Oak desk", 1]), HERE, NAME)


def test_another_version_is_refused() -> None:
    payload = json.dumps([0, ["Oak desk", 1]]).encode()
    signature = pagination._sign(CURSORS._keys[0], HERE, payload)
    cursor = urlsafe_b64encode(signature + payload).rstrip(b"=").decode()
    with pytest.raises(BadCursorError):
        CURSORS.decode(cursor, HERE, NAME)


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_sort_directions_may_be_mixed(service: Service, limit: int) -> None:
    for number in range(12):
        await service.product(
            category="ab"[number % 2], price_cents=number % 3, name=f"{'xyz'[number % 3]}{number}"
        )
    sort = Sort(
        "wild",
        ascending(Product.category),
        descending(Product.price_cents),
        ascending(Product.name, Product.id),
    )
    seen: list[Product] = []
    cursor: str | None = None
    async with service.database.reading() as session:
        while cursor is not None or not seen:
            rows = await CURSORS.page(
                session, select(Product), sort, listing="here", limit=limit, cursor=cursor
            )
            seen += rows.items
            cursor = rows.next
    assert len(seen) == 12
    assert seen == sorted(seen, key=lambda p: (p.category, -p.price_cents, p.name, p.id))


@pytest.mark.anyio
async def test_page_needs_second_query_only_at_category_end(
    service: Service, statements: list[str]
) -> None:
    for category in "aaaaaaabb":
        await service.product(category=category)
    asked = []
    address: str | None = "/api/products?sort=category&limit=3"
    while address:
        statements.clear()
        answer = await service.client.get(address)
        address = answer.links.get("next", {}).get("url")
        asked.append(sum("FROM products" in statement for statement in statements))
    assert asked == [1, 1, 2]


def padded(text: str) -> bytes:
    return text.encode() + b"=" * (-len(text) % 4)
