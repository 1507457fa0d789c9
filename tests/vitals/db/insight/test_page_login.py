"""Login of the bottlenecks page in a browser: a form, a cookie, and no access for others."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from vitals import instrument
from vitals.db.insight import page_login
from vitals.db.insight.bottlenecks_page import PATH
from vitals.db.insight.page_login import COOKIE

BROWSER = {"accept": "text/html", "origin": "http://test", "sec-fetch-site": "same-origin"}
TOKEN = "an administrator's token"


def is_admin(request: Request) -> bool:
    return request.headers.get("authorization") == "Bearer good.token"


async def log_in(_request: Request, name: str, password: str) -> str | None:
    if name == "throttled":
        raise HTTPException(429, "too many attempts", {"retry-after": "9"})
    if name == "broken":
        raise LookupError("secret")
    await asyncio.sleep(0)
    tokens = {("ada", "right"): "good.token", ("bob", "right"): "bad.token"}
    return tokens.get((name, password))


def session(admin: Any, admin_login: Any = None, base: str = "http://test") -> httpx.AsyncClient:
    app = FastAPI()
    instrument(app, logs=False, admin=admin, admin_login=admin_login)
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=base, headers=BROWSER)


@pytest.mark.anyio
async def test_token_is_entered_once_and_not_kept() -> None:
    async with session(TOKEN) as client:
        asked = await client.get(PATH)
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Form")  # no dialogue of the browser
        assert "name=token" in asked.text
        assert "form-action 'self'" in asked.headers["content-security-policy"]
        wrong = await client.post(PATH, data={"token": "wrong"})
        assert (wrong.status_code, "wrong token" in wrong.text) == (401, True)
        entered = await client.post(f"{PATH}?range=start", data={"token": f" {TOKEN} "})
        assert (entered.status_code, entered.headers["location"]) == (303, f"{PATH}?range=start")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert f"Path={PATH}" in cookie
        assert "Max-Age" not in cookie  # it ends with the browser
        assert "token" not in cookie
        assert (await client.get(PATH)).status_code == 200
        out = await client.post(f"{PATH}?logout")
        assert "You are logged out." in out.text
        assert (await client.get(PATH)).status_code == 401


@pytest.mark.anyio
async def test_session_ends_and_cannot_be_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with session(TOKEN) as client:
        value = (await client.post(PATH, data={"token": TOKEN})).cookies[COOKIE]
        ends, _, proof = value.partition(".")
        for made_up in (f"{int(ends) + 1}.{proof}", f"{ends}.", "x", ".", f"{ends}.é"):
            client.cookies.clear()
            headers = {b"cookie": f"{COOKIE}={made_up}".encode()}
            assert (await client.get(PATH, headers=headers)).status_code == 401
        monkeypatch.setattr(page_login, "time", lambda: float(ends) + 1)
        headers = {b"cookie": f"{COOKIE}={value}".encode()}
        assert (await client.get(PATH, headers=headers)).status_code == 401


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "password", "status", "said"),
    [
        ("ada", "wrong", 401, "wrong name or password"),
        ("bob", "right", 403, "for administrators only"),
        ("throttled", "x", 429, "too many attempts"),
        ("broken", "x", 503, "authorization check failed"),
    ],
)
async def test_host_checks_name_and_password(
    name: str, password: str, status: int, said: str
) -> None:
    async with session(is_admin, log_in) as client:
        refused = await client.post(PATH, data={"name": name, "password": password})
        assert (refused.status_code, said in refused.text) == (status, True)
        assert "secret" not in refused.text
        assert "set-cookie" not in refused.headers
        assert refused.headers.get("retry-after") == ("9" if status == 429 else None)
        assert (await client.get(PATH)).status_code == 401


@pytest.mark.anyio
async def test_token_of_the_host_is_passed_to_its_own_check() -> None:
    async with session(is_admin, log_in, base="https://test") as client:
        client.headers["origin"] = "https://test"
        form = {"name": "ada", "password": "right"}
        entered = await client.post(PATH, data=form)
        assert "Secure" in entered.headers["set-cookie"]
        assert (await client.get(PATH)).status_code == 200
        # A header of the client's own counts, not the cookie.
        headers = {"authorization": "Bearer bad.token"}
        assert (await client.get(PATH, headers=headers)).status_code == 403
    async with session(is_admin) as client:  # without a function that checks names
        assert (await client.post(PATH, data={"token": "bad.token"})).status_code == 403
        for value in ("a b", "a;b", "a\r\nx: y", "ü"):
            assert (await client.post(PATH, data={"token": value})).status_code == 401
        await client.post(PATH, data={"token": "good.token"})
        assert (await client.get(PATH)).status_code == 200


@pytest.mark.anyio
async def test_other_sites_cannot_log_anybody_in() -> None:
    async with session(TOKEN) as client:
        assert (await client.get(PATH)).headers["referrer-policy"] == "same-origin"
        del client.headers["sec-fetch-site"]  # as without TLS
        for headers in ({"origin": "http://evil"}, {"sec-fetch-site": "cross-site"}):
            refused = await client.post(PATH, data={"token": TOKEN}, headers=headers)
            assert refused.status_code == 403
            assert "set-cookie" not in refused.headers


@pytest.mark.anyio
async def test_other_bodies_are_refused() -> None:
    async with session(TOKEN) as client:
        assert (await client.post(PATH, json={"token": TOKEN})).status_code == 400
        assert (await client.post(PATH, data={"token": "x" * 10_000})).status_code == 400
        assert (await client.post(PATH, data={str(n): "x" for n in range(50)})).status_code == 400


@pytest.mark.anyio
async def test_command_line_client_gets_no_form() -> None:
    async with session(TOKEN) as client:
        answer = await client.get(PATH, headers={"accept": "application/json"})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.text == "send the admin token as 'Authorization: Bearer ...'\n"
