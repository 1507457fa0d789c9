"""Login throttle: limits by account and by address, in Redis and in the process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient, Response

from tests import servers
from tests.service.running import PASSWORD, Service, problem, running, settings_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def strict(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that allows 3 logins a minute to an account and 5 from an address."""
    url = ""
    if request.param == "redis":
        server: servers.Redis = request.getfixturevalue("redis_server")
        url = server.url
    settings = settings_for(tmp_path, redis_url=url, account_attempts=3, address_attempts=5)
    async with running(settings) as service:
        yield service


async def log_in(
    service: Service, email: str, password: str = PASSWORD, address: str = "192.0.2.1"
) -> Response:
    transport = ASGITransport(service.app, client=(address, 1234))
    async with AsyncClient(transport=transport, base_url="http://service") as client:
        form = {"email": email, "password": password}
        return await client.post("/api/users/login", json=form)


async def test_logins_to_an_account_are_limited(strict: Service) -> None:
    user, _ = await strict.user()
    answers = [await log_in(strict, user.email, "wrong") for _ in range(3)]
    assert [a.status_code for a in answers] == [401] * 3
    assert answers[0].headers["ratelimit-policy"] == '"account";q=3;w=60'
    assert answers[2].headers["ratelimit"].startswith('"account";r=0;t=')
    # The right password is refused too, from any address, in any spelling of the e-mail address.
    for email, address in ((user.email, "192.0.2.1"), (user.email.upper(), "192.0.2.2")):
        refused = await log_in(strict, email, address=address)
        problem(refused, 429)
        assert 0 < int(refused.headers["retry-after"]) <= 20
        assert refused.headers["ratelimit"].startswith('"account";r=0;t=')
        assert refused.headers["cache-control"] == "no-store"
    other, _ = await strict.user()
    assert (await log_in(strict, other.email, address="192.0.2.3")).status_code == 200


async def test_limit_does_not_reveal_existing_accounts(strict: Service) -> None:
    user, _ = await strict.user()
    known = [await log_in(strict, user.email, "wrong", "192.0.2.1") for _ in range(4)]
    unknown = [await log_in(strict, "nobody@example.com", "wrong", "192.0.2.2") for _ in range(4)]
    assert [a.status_code for a in known] == [a.status_code for a in unknown]
    assert problem(known[3], 429) == problem(unknown[3], 429)


async def test_logins_from_an_address_are_limited(strict: Service) -> None:
    victim, _ = await strict.user()
    for number in range(5):
        answer = await log_in(strict, f"guess{number}@example.com")
        assert answer.status_code == 401
    refused = await log_in(strict, victim.email)
    problem(refused, 429)
    assert refused.headers["ratelimit-policy"] == '"address";q=5;w=60'
    # Refused attempts of that address do not count for the account.
    for _ in range(5):
        problem(await log_in(strict, victim.email), 429)
    assert (await log_in(strict, victim.email, address="192.0.2.9")).status_code == 200


async def test_ipv6_prefix_counts_as_one_address(strict: Service) -> None:
    for number in range(5):
        await log_in(strict, f"a{number}@example.com", address=f"2001:db8:0:1::{number}")
    problem(await log_in(strict, "b@example.com", address="2001:db8:0:1:ffff::1"), 429)
    answer = await log_in(strict, "b@example.com", address="2001:db8:0:2::1")
    assert answer.status_code == 401


async def test_invalid_client_address_counts_verbatim(strict: Service) -> None:
    for number in range(5):
        await log_in(strict, f"a{number}@example.com", address="unknown:1")
    problem(await log_in(strict, "b@example.com", address="unknown:1"), 429)
    assert (await log_in(strict, "b@example.com", address="unknown:2")).status_code == 401


async def test_registrations_count_for_the_address(strict: Service) -> None:
    for number in range(5):
        new = {"email": f"new{number}@example.com", "name": "Ada", "password": PASSWORD}
        assert (await strict.client.post("/api/users", json=new)).status_code == 201
    new = {"email": "new6@example.com", "name": "Ada", "password": PASSWORD}
    refused = await strict.client.post("/api/users", json=new)
    problem(refused, 429)
    assert refused.headers["retry-after"]


@pytest.mark.servers
async def test_redis_holds_no_email_address(redis_server: servers.Redis, tmp_path: Path) -> None:
    async with running(settings_for(tmp_path, redis_url=redis_server.url)) as service:
        await log_in(service, "ada@example.com")
        line = service.app.state.limits._client
        keys = [key.decode() for key in await line.send("KEYS", "v1:{limit}:*")]
    assert len(keys) == 2
    assert not any("ada" in key or "192" in key for key in keys)
