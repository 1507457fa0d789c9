import asyncio
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack import user_journeys
from stack.traffic import PoissonArrivals, RequestStats, arguments
from stack.user_journeys import JOURNEYS, ShopClient, ShopUnavailableError
from tests.api import PASSWORD, Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    process = Api()
    process.stock()
    process.start()
    yield process
    process.close()


async def no_wait() -> None:
    """Send the next request immediately."""


def run_journeys(api: Api, *journeys: Any) -> Counter[str]:
    """Run journeys without waiting, and count the responses by status."""
    statuses: Counter[str] = Counter()

    async def go() -> None:
        async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
            shop = ShopClient(
                client,
                random.Random(5),  # noqa: S311 - a test
                no_wait,
                lambda status, _seconds: statuses.update([status]),
                password=PASSWORD,
                admin_password=PASSWORD,
                users=5,
            )
            for journey in journeys:
                await journey(shop)

    asyncio.run(go())
    return statuses


@pytest.mark.parametrize("journey", [j for j in JOURNEYS if j is not user_journeys.make_mistake])
@pytest.mark.servers
def test_journeys_succeed(api: Api, journey: Any) -> None:
    statuses = run_journeys(api, *[journey] * 6)

    assert statuses["200"] >= 6
    assert set(statuses) <= {"200", "201"}


@pytest.mark.servers
def test_mistakes_get_every_kind_of_client_error(api: Api) -> None:
    statuses = run_journeys(api, *[user_journeys.make_mistake] * 60)

    assert statuses["404"]
    assert statuses["422"]
    assert statuses["401"]
    assert not [status for status in statuses if status.startswith("5")]


@pytest.mark.servers
def test_buyers_place_orders_and_the_admin_changes_prices(api: Api) -> None:
    def prices() -> list[int]:
        page = httpx.get(f"{api.url}/api/products?limit=100", trust_env=False).json()
        return [item["price_cents"] for item in page["items"]]

    before = prices()
    statuses = run_journeys(api, *[user_journeys.buy] * 10, *[user_journeys.administer] * 5)

    assert statuses["201"] == 10
    assert prices() != before


@pytest.mark.servers
def test_logins_are_reused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    request = ShopClient.request

    async def record(self: ShopClient, method: str, path: str, **more: Any) -> httpx.Response:
        paths.append(path)
        return await request(self, method, path, **more)

    monkeypatch.setattr(ShopClient, "request", record)
    run_journeys(api, *[user_journeys.buy] * 20)

    assert paths.count("/api/orders") == 40
    assert paths.count("/api/users/login") <= 2


def test_a_lost_order_response_is_retried_with_the_same_key() -> None:
    keys: list[str] = []

    def lose_some(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(503 if len(keys) == 2 else 201)

    async def order() -> httpx.Response:
        transport = httpx.MockTransport(lose_some)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            rng = random.Random(5)  # noqa: S311 - a test
            shop = ShopClient(client, rng, no_wait, lambda *_: None)
            return await user_journeys.order(shop, {}, {1})

    assert asyncio.run(order()).status_code == 201
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_without_a_response_the_shop_is_unavailable() -> None:
    async def browse() -> None:
        async with httpx.AsyncClient(base_url="http://127.0.0.1:1", trust_env=False) as client:
            rng = random.Random(5)  # noqa: S311 - a test
            await user_journeys.browse(ShopClient(client, rng, no_wait, lambda *_: None))

    with pytest.raises(ShopUnavailableError):
        asyncio.run(browse())


def test_the_mean_request_rate_is_met() -> None:
    async def count() -> int:
        arrivals = PoissonArrivals(200, random.Random(5))  # noqa: S311 - a test
        requests = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await arrivals.wait()
                    requests += 1
        return requests

    assert 20 <= asyncio.run(count()) <= 300  # a busy machine sends fewer, never more


def test_the_summary_counts_statuses_and_resets() -> None:
    stats = RequestStats()
    for status in ("200", "200", "404"):
        stats.add(status, 0.25)

    assert re.search(r"requests/s, p95 250 ms \(200: 2, 404: 1\)", stats.summary())
    assert stats.summary().endswith("(no requests)")


@pytest.mark.parametrize("wrong", ["--rate=0", "--rate=1e9", "--demo-password-file=/nowhere"])
def test_invalid_options_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--url=http://127.0.0.1", wrong])
    assert wrong.partition("=")[0].strip("-").split("-")[0] in capsys.readouterr().err


def start(api: Api, folder: Path, *more: str) -> "subprocess.Popen[str]":
    password = folder / "password"
    password.write_text(PASSWORD)
    options = [f"--url={api.url}", f"--demo-password-file={password}", "--users=5", "--rate=60"]
    return subprocess.Popen(
        [sys.executable, "-m", "stack.traffic", *options, *more], stdout=subprocess.PIPE, text=True
    )


def served(api: Api) -> float:
    """Number of requests that the API has answered."""
    page = httpx.get(f"{api.url}/metrics", trust_env=False).text
    lines = re.findall(
        r"^http_server_request_duration_seconds_count\{.*\} (\S+)$", page, re.MULTILINE
    )
    return sum(map(float, lines))


@pytest.mark.servers
def test_traffic_continues_after_an_outage_and_ends_on_a_signal(api: Api, tmp_path: Path) -> None:
    traffic = start(api, tmp_path)
    deadline = time.monotonic() + 60
    try:
        before = served(api)
        while served(api) < before + 30:
            assert traffic.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        api.kill()
        api.start()
        while served(api) < 30:  # a new process counts from 0
            assert traffic.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        traffic.send_signal(signal.SIGTERM)
        output, _ = traffic.communicate(timeout=10)

    assert traffic.returncode == 0
    assert re.search(r"traffic: .* requests/s.*200: \d+", output)
    assert "no response" in output


@pytest.mark.servers
def test_traffic_ends_after_its_duration(api: Api, tmp_path: Path) -> None:
    traffic = start(api, tmp_path, "--for=1")
    output, _ = traffic.communicate(timeout=30)

    assert traffic.returncode == 0
    assert "traffic:" in output
