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
from stack.traffic import Pace, Tally, arguments
from stack.user_journeys import JOURNEYS, AwayError, Shop
from tests.api import PASSWORD, Api


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    process = Api()
    process.stock()
    process.start()
    yield process
    process.close()


async def at_once() -> None:
    """The next turn has come."""


def walk(api: Api, *walked: Any) -> Counter[str]:
    """Do journeys as fast as they go, and count the answers."""
    answers: Counter[str] = Counter()

    async def go() -> None:
        async with httpx.AsyncClient(base_url=api.url, trust_env=False) as client:
            shop = Shop(
                client,
                random.Random(5),  # noqa: S311 - a test
                at_once,
                lambda status, _seconds: answers.update([status]),
                password=PASSWORD,
                admin_password=PASSWORD,
                users=5,
            )
            for journey in walked:
                await journey(shop)

    asyncio.run(go())
    return answers


@pytest.mark.parametrize("journey", [j for j in JOURNEYS if j is not user_journeys.stumble])
def test_journeys_get_what_they_ask_for(api: Api, journey: Any) -> None:
    answers = walk(api, *[journey] * 6)

    assert answers["200"] >= 6
    assert set(answers) <= {"200", "201"}


def test_stumbling_visitors_see_every_kind_of_mistake(api: Api) -> None:
    answers = walk(api, *[user_journeys.stumble] * 60)

    assert answers["404"]
    assert answers["422"]
    assert answers["401"]
    assert not [status for status in answers if status.startswith("5")]


def test_buyers_place_orders_and_the_admin_changes_prices(api: Api) -> None:
    def prices() -> list[int]:
        page = httpx.get(f"{api.url}/api/products?limit=100", trust_env=False).json()
        return [item["price_cents"] for item in page["items"]]

    before = prices()
    answers = walk(api, *[user_journeys.buy] * 10, *[user_journeys.tend] * 5)

    assert answers["201"] == 10
    assert prices() != before


def test_logins_are_few(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = Shop.ask

    async def note(self: Shop, method: str, path: str, **more: Any) -> httpx.Response:
        asked.append(path)
        return await ask(self, method, path, **more)

    monkeypatch.setattr(Shop, "ask", note)
    walk(api, *[user_journeys.buy] * 20)

    assert asked.count("/api/orders") == 40
    assert asked.count("/api/users/login") <= 2


def test_a_lost_answer_to_an_order_is_asked_for_by_the_same_key() -> None:
    keys: list[str] = []

    def lose_some(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("lost")
        return httpx.Response(503 if len(keys) == 2 else 201)

    async def order() -> httpx.Response:
        transport = httpx.MockTransport(lose_some)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            chance = random.Random(5)  # noqa: S311 - a test
            shop = Shop(client, chance, at_once, lambda *_: None)
            return await user_journeys.order(shop, {}, {1})

    assert asyncio.run(order()).status_code == 201
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_without_an_answer_the_shop_is_away() -> None:
    async def look() -> None:
        async with httpx.AsyncClient(base_url="http://127.0.0.1:1", trust_env=False) as client:
            chance = random.Random(5)  # noqa: S311 - a test
            await user_journeys.browse(Shop(client, chance, at_once, lambda *_: None))

    with pytest.raises(AwayError):
        asyncio.run(look())


def test_the_pace_is_kept_on_average() -> None:
    async def count() -> int:
        pace = Pace(200, random.Random(5))  # noqa: S311 - a test
        turns = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while True:
                    await pace.turn()
                    turns += 1
        return turns

    assert 20 <= asyncio.run(count()) <= 300  # a busy machine gives fewer turns, never more


def test_the_summary_tells_answers_and_begins_anew() -> None:
    tally = Tally()
    for status in ("200", "200", "404"):
        tally.add(status, 0.25)

    assert re.search(r"requests/s, p95 250 ms \(200: 2, 404: 1\)", tally.line())
    assert tally.line().endswith("(nothing)")


@pytest.mark.parametrize("wrong", ["--rate=0", "--rate=1e9", "--demo-password-file=/nowhere"])
def test_senseless_options_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--url=http://127.0.0.1", wrong])
    assert wrong.partition("=")[0].strip("-").split("-")[0] in capsys.readouterr().err


def start(api: Api, folder: Path, *more: str) -> "subprocess.Popen[str]":
    password = folder / "password"
    password.write_text(PASSWORD)
    words = [f"--url={api.url}", f"--demo-password-file={password}", "--users=5", "--rate=60"]
    return subprocess.Popen(
        [sys.executable, "-m", "stack.traffic", *words, *more], stdout=subprocess.PIPE, text=True
    )


def served(api: Api) -> float:
    """How many requests the API has answered."""
    page = httpx.get(f"{api.url}/metrics", trust_env=False).text
    lines = re.findall(
        r"^http_server_request_duration_seconds_count\{.*\} (\S+)$", page, re.MULTILINE
    )
    return sum(map(float, lines))


def test_traffic_goes_on_after_the_api_was_away_and_ends_when_told(
    api: Api, tmp_path: Path
) -> None:
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
        while served(api) < 30:  # a new process counts from nought
            assert traffic.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        traffic.send_signal(signal.SIGTERM)
        said, _ = traffic.communicate(timeout=10)

    assert traffic.returncode == 0
    assert re.search(r"traffic: .* requests/s.*200: \d+", said)
    assert "no answer" in said


def test_traffic_ends_when_its_time_is_up(api: Api, tmp_path: Path) -> None:
    traffic = start(api, tmp_path, "--for=1")
    said, _ = traffic.communicate(timeout=30)

    assert traffic.returncode == 0
    assert "traffic:" in said
