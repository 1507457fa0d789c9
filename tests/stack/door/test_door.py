"""A real Caddy with the door's configuration, and a witness of what it lets through."""

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.door import attempts
from bench.door.tricks import tricks
from bench.door.watched_door import SECRET, WatchedDoor, opened
from stack.door import passages
from stack.door.passages import Upstreams
from stack.installation.paths import CHECKOUT

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not shutil.which("caddy"), reason="Caddy is not installed"),
]
VIEWER = CHECKOUT / "grafana" / "viewer" / "src"
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def door() -> Iterator[WatchedDoor]:
    with opened() as found:
        yield found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_nothing_is_reached_without_a_login(door: WatchedDoor) -> None:
    """3,000 of them: ``python -m bench.door``."""
    assert attempts.witness_works(door)
    before = door.witness.reached
    made = [
        trick
        for trick in tricks(66, door.authority, seed=7)
        if trick.kind not in {"host", "version"}  # many wait for an answer that does not come
    ]
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda trick: attempts.outcome(door, trick, seconds=3), made)
        for trick, each in zip(made, found, strict=True):
            assert each.refused, (trick, each.answer)
    assert len({trick.kind for trick in made}) == 9
    assert door.witness.reached == before
    assert attempts.witness_works(door)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /", "GET /alerts/", "GET /d/svc-overview/?var-job=api&from=now-1h",
        "GET /assets/a-b.js",
        "POST /api/v1/query_range", "GET /api/v1/label/job/values", "GET /store/api/search?q={}",
        "GET /store/api/v2/traces/4bf92f3577b34da6a3ce929d0e0e4736", "GET /tracker/api/v1/issues",
        "POST /tracker/api/v1/issues/v1_ab12/resolve", "POST /alertmanager/api/v2/silences",
        "DELETE /alertmanager/api/v2/silence/0e6ab5a3-3c5a-4f9e-8f5e-1f8f2f1f3c4d",
    ],
)  # fmt: skip
def test_what_pages_need_passes_with_a_login(door: WatchedDoor, request_line: str) -> None:
    method, target = request_line.split(" ")
    answer = attempts.with_login(door, method, target, f"Origin: {door.origin}", JSON)
    assert status(answer) == 200
    assert SECRET in answer
    head = door.witness.heads[-1].lower()
    for name in (b"authorization", b"cookie", b"x-forwarded", b"upgrade"):
        assert name not in head
    assert b"host: 127.0.0.1:" in head


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /api/v1/admin/tsdb/delete_series", "GET /api/v1/admin/tsdb/snapshot",
        "PUT /api/v1/otlp/v1/metrics", "POST /-/reload", "POST /-/quit",
        "POST /api/v1/write", "GET /api/v1/status/config",
        "GET /api/v1/status/flags", "GET /api/v1/alertmanagers", "POST /api/v1/rules",
        "POST /store/v1/traces", "POST /store/v1/logs", "GET /store/metrics",
        "POST /store/api/search",
        "GET /tracker/metrics", "POST /tracker/api/v1/issues", "DELETE /tracker/api/v1/issues/v1_a",
        "POST /tracker/api/v1/issues/v1_a/delete", "POST /alertmanager/api/v2/alerts",
        "GET /alertmanager/api/v2/status", "POST /alertmanager/notified",
        "POST /alertmanager/-/reload", "PUT /alertmanager/api/v2/silences", "POST /alerts/",
        "DELETE /", "POST /", "OPTIONS /", "TRACE /", "POST /alertmanager/api/v2/silences/",
        "GET /api/v1/query/../status/config", "GET /api/v1/%71uery", "GET //api/v1/query",
        "GET /api/v1/query;x", "GET /store", "POST /alertmanager/api/v2/silences/../alerts",
        "GET /%2e%2e/api/v1/status/config", "POST /alertmanager/api/v2/%73ilences",
        "GET /user/../api/v1/status/config",
    ],
)  # fmt: skip
def test_nothing_else_passes_with_a_login(door: WatchedDoor, request_line: str) -> None:
    method, target = request_line.split(" ")
    before = door.witness.reached
    answer = attempts.with_login(door, method, target, f"Origin: {door.origin}", JSON, body=b"{}")
    assert status(answer) in {404, 405}
    assert door.witness.reached == before


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Origin: http://watch.example.test",),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"),
        ("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"),
    ],
)
def test_pages_of_others_get_nothing_of_a_login(
    door: WatchedDoor, headers: tuple[str, ...]
) -> None:
    before = door.witness.reached
    for method, target in (
        ("POST", "/alertmanager/api/v2/silences"),
        ("GET", "/api/v1/query?query=up"),
    ):
        answer = attempts.with_login(door, method, target, *headers, JSON, body=b"{}")
        assert status(answer) == 403
    assert door.witness.reached == before


def test_a_link_of_a_message_may_be_followed(door: WatchedDoor) -> None:
    headers = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    assert SECRET in attempts.with_login(door, "GET", "/alerts/", *headers)


def test_only_the_live_tail_is_a_websocket(door: WatchedDoor) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", f"Origin: {door.origin}")
    attempts.with_login(door, "GET", "/store/loki/api/v1/tail?query={}", *upgrade)
    # `with_login` also asks to close: what counts is what is behind has been asked for.
    assert b"upgrade" in door.witness.heads[-1].lower()
    attempts.with_login(door, "GET", "/api/v1/query", *upgrade)
    assert b"upgrade" not in door.witness.heads[-1].lower()
    before = door.witness.reached
    assert status(attempts.with_login(door, "GET", "/store/loki/api/v1/tail")) == 404
    assert door.witness.reached == before


def test_other_hosts_get_no_answer(door: WatchedDoor) -> None:
    before = door.witness.reached
    assert door.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", seconds=3) == b""
    assert door.witness.reached == before


def test_every_answer_has_the_headers_of_security(door: WatchedDoor) -> None:
    refused = door.send(f"GET / HTTP/1.1\r\nHost: {door.authority}\r\n\r\n".encode())
    for answer, expected in (
        (refused, 401),
        (attempts.with_login(door, "GET", "/"), 200),
        (attempts.with_login(door, "GET", "/api/v1/write"), 404),
    ):
        assert status(answer) == expected
        head = answer.lower()
        for text in (
            b"content-security-policy: default-src 'none'", b"x-content-type-options: nosniff",
            b"frame-ancestors 'none'", b"referrer-policy: same-origin", b"x-frame-options: deny",
        ):  # fmt: skip
            assert text in head, (text, answer)
        assert b"\nserver:" not in head
    assert b"www-authenticate: basic" in refused.lower()


def test_links_to_prometheus_own_page_lead_to_the_query(door: WatchedDoor) -> None:
    query = "up%7Bjob%3D%22api%22%7D+%3E+0"
    answer = attempts.with_login(door, "GET", f"/graph?g0.expr={query}&g0.tab=1")
    assert f"location: /query/?expr={query}\r\n".encode() in answer.replace(
        b"Location", b"location"
    )


def test_of_a_pair_the_one_that_answers_is_asked() -> None:
    with opened(first="127.0.0.1:1") as door:
        for method, target in (
            ("GET", "/"),
            ("GET", "/api/v1/query?query=up"),
            ("POST", "/api/v1/query_range"),
            ("POST", "/alertmanager/api/v2/silences"),
        ):
            answer = attempts.with_login(door, method, target, f"Origin: {door.origin}", JSON)
            assert (status(answer), SECRET in answer) == (200, True), (target, answer)
            assert b"host: 127.0.0.1:1\r" not in door.witness.heads[-1].lower()


def test_behind_it_may_be_tempo_and_loki() -> None:
    found = passages.of_viewer(Upstreams("a:1", "b:1", "tempo:3200", "d:1", logs="loki:3100"))
    upstreams = {each.name: each.upstream for each in found}
    assert upstreams["traces"] == upstreams["tags"] == "tempo:3200"
    assert upstreams["lines"] == upstreams["tail"] == "loki:3100"
    assert "profiles" not in upstreams


def test_the_viewer_gets_addresses_below_the_door(door: WatchedDoor) -> None:
    body = attempts.with_login(door, "GET", "/settings.json").partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {
        "storeUrl": "store",
        "issuesUrl": "tracker",
        "alertmanagerUrl": "alertmanager",
        "traceUrl": "",
    }


def test_all_that_the_viewer_asks_for_passes() -> None:
    """A new request of the viewer needs its passage."""
    found = passages.of_viewer(Upstreams("a:1", "b:1", "c:1", "d:1"))
    expressions = [re.compile(rf"(?:{each.path})") for each in found[:-1]]
    asked = set()
    for file in VIEWER.rglob("*.ts*"):
        text = re.sub(r"\$\{[^}]*\}", "x", file.read_text("utf-8"))
        if not file.name.endswith(".test.ts"):
            asked |= {
                f"/api/v1/{each}" for each in re.findall(r"requestApi[^(]*\(\s*['`]([^'`]+)", text)
            }
            manager = re.findall(r"requestManager[^(]*\(\s*['`]([^'`]+)", text)
            asked |= {f"/alertmanager/api/v2/{each}" for each in manager}
            paths = re.findall(r"['`](/(?:api|loki|pyroscope)/[^'`]+)['`]", text)
            prefix = "/tracker" if file.parent.name == "issues" else "/store"
            asked |= {prefix + path for path in paths}
    asked -= {"/api/v1/alertmanagers"}  # settings.json names the gate
    assert len(asked) > 15
    examples = {re.sub(r"/x(?=/(?:resolve|values)|$)", "/a", path) for path in asked}
    examples = {re.sub(r"/issues/(\w+)/x$", r"/issues/\1/resolve", path) for path in examples}
    examples = {re.sub(r"/issues/(a|x)/a$", r"/issues/\1/resolve", path) for path in examples}
    missing = sorted(
        path for path in examples if not any(each.fullmatch(path) for each in expressions)
    )
    assert missing == []
