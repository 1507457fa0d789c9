"""From an alert's message to its cause, all real: service, store, watch, inbox, viewer."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from alerts import alertmanager
from alerts.receivers import ReceiverSettings
from export import static_site
from stack import viewer
from stack.inbox import server
from stack.installation.paths import CHECKOUT
from stack.readiness import LOOPBACK
from tests import servers
from tests.browser.conftest import SITE_FLAG, own
from tests.browser.watched import until
from tests.stack.store.storing import storing
from vitals import instrument
from vitals.errors import counter
from vitals.logging import record_context

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
JOB = "bookshop"


def serve_failures(store: str) -> None:
    """Have a service fail as a bad release does: with an exception, and a line before it."""

    async def run() -> None:
        app = FastAPI()
        instrument(app, service_name=JOB, otlp_endpoint=store)

        @app.get("/books/{isbn}")
        async def book(isbn: str) -> int:
            return {"known": 1}[isbn]

        async with LifespanManager(app) as manager:
            transport = httpx.ASGITransport(manager.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await client.get("/books/known")
                assert (
                    await client.get("/books/lost")
                ).status_code == httpx.codes.INTERNAL_SERVER_ERROR

    # In a thread, because Playwright holds the event loop of this one.
    failing = threading.Thread(target=lambda: asyncio.run(run()))
    failing.start()
    failing.join()


def rule() -> dict[str, Any]:
    """`ErrorRatioHigh` with its annotations, which fires at once."""
    for file in (CHECKOUT / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for each in group["rules"]:
                if each.get("alert") == "ErrorRatioHigh":
                    expr = f'label_replace(vector(0.5), "job", "{JOB}", "", "")'
                    return {**each, "expr": expr, "for": "0s", "keep_firing_for": "0s"}
    raise LookupError("there is no ErrorRatioHigh")


@pytest.fixture
def inbox(built: Path) -> Iterator[str]:
    """An inbox that has the alert's message; its URL."""
    with ExitStack() as started:
        prometheus = servers.start_prometheus({}, [SITE_FLAG, "--rules.alert.resend-delay=1s"])
        started.callback(prometheus.close)
        folder = servers.temporary_folder()
        store = started.enter_context(storing(folder, "--page-origin", prometheus.url))
        started.callback(store.close)
        settings = {"storeUrl": f"http://{LOOPBACK}:{store.port}"}
        site = prometheus.folder / "site"
        static_site.publish(built, viewer.BOARDS, viewer.RUNBOOKS, site, settings)
        own(prometheus.folder)

        receiver = server.build(0, viewer=f"{prometheus.url}/user")
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
        thread.start()
        for end in (thread.join, receiver.server_close, receiver.shutdown):
            started.callback(end)
        address = f"http://{LOOPBACK}:{receiver.server_port}"

        counter._counters.clear()
        serve_failures(f"http://{LOOPBACK}:{store.port}")
        started.callback(record_context.uninstall)
        manager = start_alertmanager(f"{prometheus.url}/user", f"{address}/slack")
        started.callback(manager.close)
        config = {
            "global": {"evaluation_interval": "1s"},
            "rule_files": ["failing.yml"],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"{LOOPBACK}:{manager.port}"]}]}]
            },
        }
        groups = {"groups": [{"name": "failing", "rules": [rule()]}]}
        (prometheus.folder / "failing.yml").write_text(yaml.safe_dump(groups))
        (prometheus.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        own(prometheus.folder)
        prometheus.reload()
        until(lambda: bool(httpx.get(f"{address}/").json()["messages"]), "a message in the inbox")
        yield address


def start_alertmanager(pages: str, slack: str) -> servers.MonitoringServer:
    folder = servers.temporary_folder()
    (folder / "slack").write_text(slack)
    folder.chmod(0o755)
    (folder / "slack").chmod(0o644)
    settings = ReceiverSettings(
        slack_file=str(folder / "slack"),
        boards=pages,
        viewer=pages,
        runbooks=f"{pages}/runbooks",
        silences=f"{pages}/silences/new/",
    )
    alertmanager.write(settings, folder / "alertmanager.yml", folder / "templates")
    return servers.start_alertmanager(
        alertmanager.configuration(settings, str(folder / "templates"), alertmanager.FAST_TIMINGS)
    )


def test_a_message_is_one_click_away_from_the_trace_of_its_cause(
    browser: Browser, inbox: str
) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(inbox)
    message = page.get_by_role("article").filter(has_text="bookshop")
    expect(message).to_be_visible()
    message.get_by_role("link", name="Trace", exact=True).click()

    waterfall = page.get_by_role("tree")
    expect(waterfall.get_by_role("treeitem")).to_have_count(1)
    expect(waterfall).to_contain_text("GET /books/{isbn}")
    details = page.get_by_test_id("details")
    expect(details).to_contain_text("KeyError")
    expect(details.get_by_role("region", name="Stack")).to_contain_text("test_from_inbox.py")
    lines = page.get_by_role("region", name="Logs of the trace")
    expect(lines).to_contain_text("request failed")
    context.close()
