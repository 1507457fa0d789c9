"""Response headers, request ids, /docs, HEAD, compression and conditional requests."""

import asyncio
import gzip
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from httpx import ASGITransport, AsyncClient, Response
from starlette.types import Receive, Scope, Send

from service.conditional_requests import respond as show
from service.middleware import docs_page, response_headers
from service.middleware.compression import SLICE_BYTES, Compression
from service.middleware.etag import MAX_URL_LENGTH, Revalidation
from service.users.tables import Role
from tests.service.running import PASSWORD, Service, problem, running, settings_for
from tests.vitals.journal import journal
from vitals.cache.core.codec import Rendered

pytestmark = pytest.mark.anyio

MADE_ID = re.compile(r"[0-9a-f]{32}")


def check_envelope(answer: Response) -> None:
    """Expect the headers of every response."""
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert MADE_ID.fullmatch(headers["x-request-id"])
    assert "strict-transport-security" not in headers


async def test_every_response_has_security_and_caching_headers(light: Service) -> None:
    user, headers = await light.user(Role.ADMIN)
    await light.product()
    get, post = light.client.get, light.client.post
    login = {"email": user.email, "password": PASSWORD}
    private, public, none = "private, no-cache", "public, max-age", "no-store"
    expected = [
        (await get("/api/products"), 200, public),
        (await get("/api/reports/best-sellers"), 200, public),
        (await get("/api/users/me", headers=headers), 200, private),
        (await get("/api/users", headers=headers), 200, private),
        (await get("/api/orders", headers=headers), 200, private),
        (await get("/openapi.json"), 200, private),
        (await get("/docs"), 200, private),
        (await get("/healthz"), 200, none),
        (await post("/api/users/login", json=login), 200, none),
        (await post("/api/users/login", json=login | {"password": "x"}), 401, none),
        (await get("/api/users/me"), 401, none),
        (await get("/api/products/424242"), 404, none),
        (await get("/nowhere"), 404, none),
        (await post("/api/products"), 401, none),
        (await get("/api/products?limit=0"), 422, none),
        (await light.client.put("/api/products"), 405, none),
    ]
    for answer, status, caching in expected:
        where = f"{answer.request.method} {answer.url}"
        assert answer.status_code == status, where
        check_envelope(answer)
        assert answer.headers["cache-control"].startswith(caching), where
        if answer.request.method == "GET":
            vary = "Accept-Encoding" if caching == public else "Accept-Encoding, Authorization"
            assert answer.headers["vary"] == vary, where


async def test_unexpected_errors_have_the_headers_too(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(light.app.state.catalogue, "categories", None)
    answer = await light.client.get("/api/categories")
    problem(answer, 500)
    check_envelope(answer)


async def test_hsts_is_sent_over_tls_only(light: Service) -> None:
    async with AsyncClient(
        transport=ASGITransport(light.app), base_url="https://service"
    ) as client:
        answer = await client.get("/api/categories")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("given", ["0b7c8f3e-58a2-4c1e-9d38-6d0f3f7f3c55", "a.b_c-12", "x" * 64])
async def test_a_well_formed_request_id_is_kept(light: Service, given: str) -> None:
    answer = await light.client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", "id\x01id\x01id", "é" * 9])
async def test_invalid_request_id_is_replaced(light: Service, given: str) -> None:
    headers = [(b"X-Request-ID", given.encode())]
    answer = await light.client.get("/healthz", headers=headers)
    assert MADE_ID.fullmatch(answer.headers["x-request-id"])


async def test_log_events_have_the_request_id(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as service:
        service.app.state.catalogue = None
        given = {"X-Request-ID": "find-me-again"}
        with journal() as kept:
            problem(await service.client.get("/api/categories", headers=given), 500)
            lines = kept.lines
    (logged,) = (line for line in lines if line["event"] == "request failed")
    assert logged["request_id"] == "find-me-again"


async def test_docs_csp_allows_only_their_own_script(light: Service) -> None:
    page = await light.client.get("/docs")
    policy = page.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    script_source = re.search(r"script-src ([^;]+)", policy)
    assert script_source is not None
    assert "unsafe" not in script_source[1]
    assert "http" not in policy
    assert not re.findall(r"https?://", page.text)


async def test_docs_load_no_third_party_resources(light: Service) -> None:
    page = (await light.client.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert {address.rpartition("/")[2] for address in addresses} == set(docs_page.FILES)
    for address in addresses:
        answer = await light.client.get(address, headers={"Accept-Encoding": "gzip"})
        check_envelope(answer)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == docs_page.CACHING
        assert answer.headers["content-type"].startswith(
            docs_page.FILES[address.rpartition("/")[2]]
        )
        assert sha256(answer.content).hexdigest().startswith(address.split("/")[2])
        assert answer.headers["content-encoding"] == "gzip"


def test_missing_swagger_ui_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_page, "PACKAGE", "no_such_package")
    with pytest.raises(RuntimeError, match="install the package fastapi-offline"):
        docs_page.install(FastAPI())


# -- HEAD ------------------------------------------------------------------------------------


async def test_head_is_allowed_wherever_get_is(service: Service) -> None:
    product = await service.product()
    _, headers = await service.user(Role.ADMIN)
    document = (await service.client.get("/openapi.json")).json()
    paths = [path for path, operations in document["paths"].items() if "get" in operations]
    assert len(paths) > 8
    for path in [*paths, "/docs", "/openapi.json"]:
        url = re.sub(r"{\w+}", str(product.id), path)
        got = await service.client.get(url, headers=headers)
        head = await service.client.head(url, headers=headers)
        assert (head.status_code, head.content) == (got.status_code, b""), url
        for name in ("content-type", "content-length", "cache-control", "etag", "vary"):
            assert head.headers.get(name) == got.headers.get(name), (url, name)


async def test_head_is_conditional_too(light: Service) -> None:
    known = (await light.client.get("/api/categories")).headers["etag"]
    answer = await light.client.head("/api/categories", headers={"If-None-Match": known})
    assert (answer.status_code, answer.headers["etag"]) == (304, known)


async def test_head_is_measured_as_head(light: Service) -> None:
    await light.client.head("/api/categories")
    metrics = (await light.client.get("/metrics")).text
    name = "http_server_request_duration_seconds_count"
    assert f'{name}{{http_request_method="HEAD",http_route="/api/categories"' in metrics


@pytest.mark.parametrize(
    ("method", "url", "allowed"),
    [
        ("POST", "/api/categories", "GET, HEAD"),
        ("PUT", "/api/products", "GET, HEAD, POST"),
        ("PUT", "/api/products/1", "DELETE, GET, HEAD, PATCH"),
        ("HEAD", "/api/users/login", "POST"),
        ("GET", "/api/users/login", "POST"),
    ],
)
async def test_405_names_every_method(light: Service, method: str, url: str, allowed: str) -> None:
    answer = await light.client.request(method, url)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


# -- Hosts -----------------------------------------------------------------------------------


async def test_only_trusted_hosts_are_served(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, allowed_hosts="api.example.com, *.shop.test,[::1],127.0.0.1")
    async with running(settings) as service:
        for host in ("api.example.com", "API.example.com:8000", "a.b.shop.test", "127.0.0.1:80",
                     "[::1]", "[::1]:8000"):  # fmt: skip
            answer = await service.client.get("/healthz", headers={"Host": host})
            assert answer.status_code == 200, host
        for host in ("evil.test", "example.com", "shop.test", "api.example.com.evil.test", ""):
            answer = await service.client.get("/healthz", headers={"Host": host})
            problem(answer, 400)
            check_envelope(answer)


# -- Compression -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("*", "zstd"),
        ("*, zstd;q=0", "br"),
        ("gzip;q=0", None),
        ("br;q=0, gzip;q=0, zstd;q=0.0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_long_public_responses_use_accepted_encoding(
    light: Service, accepted: str, encoding: str | None
) -> None:
    for number in range(60):
        await light.product(name=f"Oak desk {number}")
    url, headers = "/api/products?limit=100", {"Accept-Encoding": accepted}
    answer = await light.client.get(url, headers=headers)
    plain = await light.client.get(url, headers={"Accept-Encoding": "identity"})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.content == plain.content
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert answer.headers["etag"] == plain.headers["etag"]
    if encoding:
        assert int(answer.headers["content-length"]) < len(plain.content) / 4


async def test_small_responses_and_errors_are_not_compressed(light: Service) -> None:
    await light.product()
    for url in ("/api/products", "/api/products/1", "/nowhere"):
        answer = await light.client.get(url, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers


async def test_private_paths_and_writes_are_not_compressed(light: Service) -> None:
    _, admin = await light.user(Role.ADMIN)
    for _ in range(20):
        user, headers = await light.user()
    accept = {"Accept-Encoding": "gzip, br, zstd"}
    everybody = await light.client.get("/api/users?limit=100", headers=admin | accept)
    assert len(everybody.content) > 2000
    echo = {"name": "Oak desk", "category": "office", "price_cents": 1, "description": "x" * 1999}
    login = {"email": user.email, "password": PASSWORD}
    for answer in (
        everybody,
        await light.client.get("/api/users/me", headers=headers | accept),
        await light.client.post("/api/users/login", json=login, headers=accept),
        await light.client.post("/api/products", json=echo, headers=admin | accept),
    ):
        assert answer.is_success
        assert "content-encoding" not in answer.headers


async def test_one_user_s_own_orders_are_compressed(light: Service) -> None:
    _, headers = await light.user()
    product = await light.product(stock=100)
    order = {"items": [{"product_id": product.id, "quantity": 1}]}
    for _ in range(10):
        await light.client.post("/api/orders", json=order, headers=headers)
    answer = await light.client.get("/api/orders", headers=headers | {"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding, Authorization"


async def test_event_streams_are_not_compressed() -> None:
    app = FastAPI()

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for number in range(500):
                yield f"data: {number}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/lines")
    async def lines() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for number in range(500):
                yield f"{number}\n"

        return StreamingResponse(lines(), media_type="text/plain")

    app.add_middleware(Compression, private=("/secret",))
    response_headers.install(app)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/events", headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in answer.headers
        assert answer.text.count("data:") == 500
        # The value without the middleware.
        answer = await client.get("/lines", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.compress(b"") != answer.content
        assert answer.text.count("\n") == 500


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip"])
async def test_compression_does_not_block_other_requests(encoding: str) -> None:
    app = FastAPI()
    said = json.dumps([{"number": number} for number in range(40_000)])

    @app.get("/long")
    async def long() -> PlainTextResponse:
        return PlainTextResponse(said, media_type="application/json")

    app.add_middleware(Compression, private=())
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:

        async def ask(url: str) -> tuple[Response, int]:
            before = turns
            return await client.get(url, headers={"Accept-Encoding": encoding}), turns - before

        others = asyncio.create_task(count())
        _, usual = await ask("/nowhere")
        answer, taken = await ask("/long")
        others.cancel()
    assert answer.headers["content-encoding"] == encoding
    assert answer.text == said
    assert taken >= usual + len(said) // SLICE_BYTES


async def test_only_short_urls_are_remembered() -> None:
    """Unknown query parameters may be arbitrarily long."""
    asked: list[bytes] = []

    async def look() -> Rendered:
        return Rendered(b"{}", "same")

    async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["query_string"])
        await show(Request(scope), Rendered(b"{}", "same", look), "public")(scope, receive, send)

    async with AsyncClient(
        transport=ASGITransport(Revalidation(long_way)),
        base_url="http://test",
        headers={"If-None-Match": '"same"'},
    ) as client:
        for query in ("short", "long" * MAX_URL_LENGTH) * 2:
            assert (await client.get(f"/?{query}")).status_code == 304
    assert [query[:5] for query in asked] == [b"short", b"longl", b"longl"]


async def test_query_parameters_are_limited(light: Service) -> None:
    accepted = await light.client.get("/api/products?" + "&".join(["limit=1"] * 200))
    assert accepted.status_code == 200
    for query in ("&" * 200, "&".join(f"p{n}=1" for n in range(5_000))):
        refused = await light.client.get(f"/api/products?{query}")
        assert "200 parameters" in problem(refused, 400)["detail"]
        assert refused.headers["x-request-id"]


async def test_long_if_none_match_list_is_searched(light: Service) -> None:
    tag = (await light.client.get("/api/products")).headers["etag"]
    others = '"a", ' * 10_000
    for known, status in ((others + tag, 304), (others, 200), (f'"{tag[3:-1]}x", {others}', 200)):
        answer = await light.client.get("/api/products", headers={"If-None-Match": known})
        assert answer.status_code == status
