"""Profiles: from a service's sampler to a flame graph and the difference of two releases."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import Retention
from stack.store.profiles.pprof import PushedProfile
from stack.store.profiles.profile_file import SHARE, ProfileFile
from tests.stack.store.storing import PAGE, Store, storing
from vitals.metrics.meter import Meter
from vitals.otlp.exporter import Exporter
from vitals.profiling.profile_push import MAX_ROUTES, ProfilePush, by_route, push_target
from vitals.profiling.sampler import Profile, Sampler

PUSH = "/push.v1.PusherService/Push"
pytestmark = pytest.mark.servers


def slow() -> None: ...


def fast() -> None: ...


def stack(*functions: Any) -> Any:
    """The innermost first."""
    return tuple((each.__code__, 0) for each in functions)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("profiles")) as running:
        yield running


def push(store: Store, release: str, *profiles: Profile) -> ProfilePush:
    """Push minutes as the kit does, and wait until they have arrived."""
    labels = {"service_name": "shop", "service_version": release, "process_pid": "7"}
    target = push_target(str(store.client.base_url))
    assert target is not None
    meter = Meter()
    pushing = ProfilePush(Sampler({}), target, lambda: labels, meter.dropped)
    exporter: Exporter[Any] = Exporter(target, pushing._encode, meter.dropped, signal="profiles")
    for profile in profiles:
        assert exporter.put((int(time.time()) // 60, profile), 1_000)
    assert exporter.close(20)
    assert (exporter.exported, exporter.dropped) == (len(profiles), 0)
    return pushing


def values(answer: dict[str, Any]) -> dict[str, list[int]]:
    """Total and own nanoseconds by function, without the line; of both sides for a difference."""
    width = 7 if answer["metadata"]["format"] == "double" else 4
    found = {}
    for level in answer["flamebearer"]["levels"]:
        for at in range(0, len(level), width):
            name = answer["flamebearer"]["names"][level[at + width - 1]].partition(" ")[0]
            found[name] = [level[at + n] for n in range(width - 1) if n % 3]
    return found


def test_what_the_kit_pushes_is_drawn_by_route_and_release(store: Store) -> None:
    old: Profile = {("/orders/{id}", stack(slow, fast)): 1.5, ("/orders/{id}", stack(fast)): 0.5}
    new: Profile = {("/orders/{id}", stack(slow, fast)): 0.25, ("", stack(fast)): 3.0}
    push(store, "1.0", old)
    push(store, "2.0", new)
    matched = '{service_name="shop",http_route="/orders/{id}",service_version="%s"}'
    times = {"from": int(time.time()) - 300, "until": int(time.time()) + 60}
    answer = store.get("/pyroscope/render", query="wall" + matched % "1.0", **times)
    assert values(answer) == {
        "total": [2 * 10**9, 0],
        "fast": [2 * 10**9, 5 * 10**8],
        "slow": [15 * 10**8, 15 * 10**8],
    }
    here = next(each for each in answer["flamebearer"]["names"] if each.startswith("slow"))
    assert re.fullmatch(rf"slow \(.*test_profiles\.py:{slow.__code__.co_firstlineno}\)", here)
    between = store.get(
        "/pyroscope/render-diff",
        **{f"{side}{name}": value for side in ("left", "right") for name, value in (
            ("Query", matched % ("1.0" if side == "left" else "2.0")),
            ("From", times["from"]), ("Until", times["until"]),
        )},
    )  # fmt: skip
    assert values(between)["slow"] == [15 * 10**8, 15 * 10**8, 25 * 10**7, 25 * 10**7]
    assert (between["leftTicks"], between["rightTicks"]) == (2 * 10**9, 25 * 10**7)
    assert store.get("/pyroscope/label-values", label="service_version") == ["1.0", "2.0"]
    assert store.metrics()['vitals_store_stored_total{kind="profiles"}'] == 3


def test_no_samples_are_an_empty_graph(store: Store) -> None:
    answer = store.get("/pyroscope/render", query='wall{service_name="nobody"}')
    assert answer["flamebearer"]["numTicks"] == 0


def test_what_is_no_profile_and_no_query_is_refused(store: Store) -> None:
    proto = {"content-type": "application/proto"}
    statuses = [
        store.client.post(PUSH, content=b"\x0a\xff", headers=proto).status_code,
        store.client.post(PUSH, content=b"{}", headers={"content-type": "text/x"}).status_code,
        store.client.post(PUSH, content=b"", headers=proto | {"origin": PAGE}).status_code,
        store.client.get("/pyroscope/render", params={"query": "wall{pid=~'x'}"}).status_code,
        store.client.get("/pyroscope/label-values", params={"label": "x"}).status_code,
    ]
    assert statuses == [400, 415, 403, 400, 400]


def test_the_file_is_bounded_by_age_and_size(tmp_path: Path) -> None:
    most = 400_000
    file = ProfileFile(tmp_path / "kept", Retention(3_600, SHARE * most))
    now = time.time()

    def profile(number: int) -> PushedProfile:
        text = [f"{number}-{n * 7919 % 10007}-{n * 104729 % 100003} (f:1)" for n in range(2_000)]
        return PushedProfile({"service_name": "a"}, now - 600 + number, {(t,): 1 for t in text})

    assert file.write([PushedProfile({}, now - 7_200, {("old",): 1})]) == 0
    for number in range(60):
        file.write([profile(number)])
    size = sum(path.stat().st_size for path in (tmp_path / "kept").glob("profiles.sqlite"))
    assert size < 2 * most
    kept = file.read({"service_name": "a"}, now - 3_600, now, Deadline(20))
    numbers = {int(name.partition("-")[0]) for (name,) in kept}
    assert 59 in numbers
    assert 0 not in numbers


def test_further_routes_share_one_series() -> None:
    profile: Profile = {(f"/{n}", stack(fast)): 1.0 + n for n in range(MAX_ROUTES + 5)}
    parts = by_route(profile)
    assert len(parts) == MAX_ROUTES + 1
    assert sum(seconds for part in parts.values() for seconds in part.values()) == sum(
        profile.values()
    )
    assert json.dumps(sorted(parts)).count("__other__") == 1


def test_a_minute_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler({})
    monkeypatch.setattr("vitals.profiling.sampler.time", lambda: 600.0)
    sampler.record([("/a", stack(slow))], 1.0, 9)
    sampler.record([("/a", stack(slow))], 2.0, 10)
    assert sampler.take() == [(9, {("/a", stack(slow)): 1.0})]
    assert sampler.take() == []
    assert sampler.take(also_this_minute=True) == [(10, {("/a", stack(slow)): 2.0})]
    sampler.record([("/a", stack(slow))], 0.5, 10)
    assert sampler.take(also_this_minute=True) == [(10, {("/a", stack(slow)): 0.5})]
