"""The pages of the inbox: what each integration's message looks like, safely."""

import re
from typing import Any

import pytest

from stack.inbox.inbox_store import InboxStore
from stack.inbox.pages import TABS, page
from stack.inbox.text_rendering import plain_text, slack_text
from tests.stack.inbox.test_archive import EVENT, MAIL, SLACK
from tests.stack.inbox.test_server import MESSAGE

HOSTILE = "</p><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def inbox() -> InboxStore:
    store = InboxStore()
    store.add_webhook(MESSAGE)
    store.add_slack_message(SLACK)
    store.add_mail(MAIL)
    store.add_pager_event(EVENT)
    return store


def _slack(title: str, text: str = "") -> dict[str, Any]:
    return {"attachments": [{"title": title, "text": text}]}


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_fits_a_phone_and_leads_to_the_others(inbox: InboxStore, tab: str) -> None:
    shown = page(inbox, tab)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in shown
    assert re.findall(r'href="\?show=(\w+)"', shown)[1:] == list(TABS)  # the first reloads
    assert f'href="?show={tab}" aria-current="page"' in shown
    assert "down" in shown
    assert shown.count("<article") == 1


def test_without_messages_it_says_so() -> None:
    shown = page(InboxStore())
    assert "nothing to Slack" in shown
    assert "no heartbeat yet" in shown


@pytest.mark.parametrize("tab", [*TABS, "unknown"])
def test_hostile_text_is_escaped(tab: str) -> None:
    store = InboxStore()
    store.add_webhook(
        MESSAGE
        | {"alerts": [MESSAGE["alerts"][0] | {"annotations": {"summary": HOSTILE, "d": HOSTILE}}]}
    )
    store.add_slack_message(_slack(HOSTILE, HOSTILE))
    store.add_mail(f"Subject: {HOSTILE}\r\nFrom: {HOSTILE}\r\n\r\n{HOSTILE}".encode())
    payload = {"summary": HOSTILE, "source": HOSTILE, "severity": HOSTILE}
    details = {"custom_details": {HOSTILE: HOSTILE}}
    store.add_pager_event(EVENT | {"client_url": "javascript:x", "payload": payload | details})
    shown = page(store, tab)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "javascript:" not in re.findall(r'href="([^"]*)"', shown)


def test_newest_first_and_what_has_ended_says_when() -> None:
    store = InboxStore()
    for title in (
        "[FIRING 1] TargetDown api",
        "[FIRING 1] NPlusOne api",
        "[RESOLVED] NPlusOne api",
    ):
        store.add_slack_message(_slack(title))
    shown = page(store, "slack")
    titles = re.findall(r"<h3>(.*?)</h3>", shown)
    badges = re.findall(r"<span class='badge (\w+)'>(.*?)</span>", shown)
    assert titles == [
        "[RESOLVED] NPlusOne api",
        "[FIRING 1] NPlusOne api",
        "[FIRING 1] TargetDown api",
    ]
    assert [kind for kind, _ in badges] == ["over", "over", "on"]
    assert badges[1][1].startswith("resolved 20")


def test_an_incident_is_one_entry_with_its_log() -> None:
    store = InboxStore()
    details = {"custom_details": {"text": "see https://boards.example/d/x?a=1&b=2."}}
    store.add_pager_event(EVENT | {"payload": EVENT["payload"] | details})  # type: ignore[operator]
    store.add_pager_event({"routing_key": "k", "event_action": "resolve", "dedup_key": "one"})
    shown = page(store, "pagerduty")
    assert shown.count("<article") == 1
    assert "<h3>down</h3>" in shown
    assert re.findall(r"</time> (\w+)", shown) == ["resolve", "trigger"]
    address = "https://boards.example/d/x?a=1&amp;b=2"
    assert f'<a href="{address}" rel="noreferrer">{address}</a>.' in shown


BEGIN = {
    "summary": "api fails",
    "description": "",
    "cause": "pool main is full",
    "error": "KeyError at shop:<lambda>",
    "statement": "SELECT a & b",
    "deployment": "version 2",
    "trace": "traces/example/?service=a%2Bb&route=%2F%7Bid%7D",
    "board": "svc-overview",
    "runbook": "TargetDown.md",
}


def _of_alert(**more: Any) -> str:
    store = InboxStore()
    alert = MESSAGE["alerts"][0] | {"labels": {"alertname": "A", "job": "a+b & c#"}} | more
    store.add_webhook(MESSAGE | {"alerts": [alert | {"annotations": BEGIN}]})
    return page(store, "alerts", "http://viewer.example/user/")


def test_an_alert_has_what_messages_have_to_begin_with_and_an_end_has_not() -> None:
    shown = _of_alert()
    for line in (
        "Possible cause: pool main is full",
        "Newest error: KeyError at shop:&lt;lambda&gt;",
        "Statement: SELECT a &amp; b",
        "Last deployment: version 2",
    ):
        assert line in shown
    links = dict(re.findall(r'<a href="(http://viewer[^"]+)" rel="noreferrer">(\w+)</a>', shown))
    trace, board, runbook = links
    assert list(links.values()) == ["Trace", "Board", "Runbook"]
    assert trace == "http://viewer.example/user/traces/example/?service=a%2Bb&amp;route=%2F%7Bid%7D"
    assert board.startswith("http://viewer.example/user/d/svc-overview?var-alertname=A&amp;")
    assert "var-job=a%2Bb%20%26%20c%23&amp;" in runbook
    ended = _of_alert(status="resolved")
    assert "api fails" in ended
    assert "Newest error" not in ended


def test_an_event_without_what_pagerduty_demands_is_refused() -> None:
    store = InboxStore()
    for event in (
        EVENT | {"routing_key": ""},
        EVENT | {"event_action": "open"},
        EVENT | {"payload": {"summary": "no source"}},
    ):
        with pytest.raises((ValueError, KeyError)):
            store.add_pager_event(event)
    assert store.pages == ()


def _link(address: str, label: str = "") -> str:
    return f'<a href="{address}" rel="noreferrer">{label or address}</a>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("see http://a.example/?y=1&z=2.", f"see {_link('http://a.example/?y=1&amp;z=2')}."),
        ("<http://a.example|the board>", _link("http://a.example", "the board")),
        ("*bold* and 2 * 3 * 4", "<b>bold</b> and 2 * 3 * 4"),
        ("a &amp; b &lt; c", "a &amp; b &lt; c"),
        ("`SELECT *`", "<code>SELECT *</code>"),
        ("<javascript:x|y>", "&lt;javascript:x|y&gt;"),
    ],
)
def test_slack_text_looks_as_in_slack(text: str, html: str) -> None:
    assert slack_text(text) == html


def test_mail_text_is_shown_as_it_is() -> None:
    assert plain_text("*not bold* a &amp; b") == "*not bold* a &amp;amp; b"
