"""Every board in Firefox and in WebKit; WebKit in the locale of a system that has none."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from stack.readiness import free_port
from tests import servers
from tests.browser import engines
from tests.browser.pages import BOARDS, PLOTS, Pages, panels_of, some_boards

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

_SECONDS = 120.0
_NEEDED = {"firefox": ("firefox-esr",), "webkit": ("WebKitWebDriver", "Xvfb")}
_SEEN = """() => ({
    heading: document.querySelector('h1')?.textContent ?? '',
    alerts: [...document.querySelectorAll('[role=alert]')].map(one => one.innerText),
    isLoading: document.body.innerText.includes('Loading …'),
    panels: Object.fromEntries([...document.querySelectorAll('[data-viz-panel-key]')].map(panel => {
        const coloured = [...panel.querySelectorAll('canvas')].reduce((count, canvas) => {
            const context = canvas.getContext('2d');
            const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
            for (let at = 0; at < data.length; at += 4) {
                const rgb = [data[at], data[at + 1], data[at + 2]];
                if (data[at + 3] > 40 && Math.max(...rgb) - Math.min(...rgb) > 40) count += 1;
            }
            return count;
        }, 0);
        return [panel.dataset.vizPanelKey, { coloured, text: panel.innerText }];
    })),
})"""


@pytest.fixture(scope="module", params=sorted(_NEEDED))
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[engines.Engine]:
    if missing := engines.missing(*_NEEDED[request.param]):
        pytest.skip(f"missing: {', '.join(missing)}; run: python -m stack install --for-tests")
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "firefox":
        with engines.firefox(folder) as firefox:
            yield firefox
    else:
        with engines.webkit(folder, free_port(), locale="C") as webkit:
            yield webkit


@pytest.mark.parametrize("uid", some_boards("svc-db"))
def test_a_board_is_drawn(
    uid: str, engine: engines.Engine, recorded: servers.MonitoringServer
) -> None:
    engine.open(f"{recorded.url}/user{Pages.path(uid, 'var-job=api&var-route=/api/orders')}")
    panels = {f"panel-{one['id']}": one for one in panels_of(BOARDS[uid])}

    def faults(seen: dict[str, Any]) -> list[str]:
        found = [f"alert: {text}" for text in seen["alerts"]]
        if seen["heading"] != BOARDS[uid]["title"] or seen["isLoading"]:
            found.append(f"still {seen['heading']}")
        for key, one in panels.items():
            drawn = seen["panels"].get(key)
            if not drawn or one["title"] not in drawn["text"]:
                found.append(f"{one['title']} is not there")
            elif one["type"] in PLOTS and drawn["coloured"] < 20:
                found.append(f"{one['title']} is empty: {drawn}")
        return found

    _until_none(engine, faults)


def test_the_home_page_lists_services_and_boards(
    engine: engines.Engine, recorded: servers.MonitoringServer
) -> None:
    engine.open(f"{recorded.url}/user/")

    def faults(seen: dict[str, Any]) -> list[str]:
        links = engine.evaluate("() => [...document.links].map(link => link.pathname)")
        missing = [uid for uid in BOARDS if not any(f"/d/{uid}" in link for link in links)]
        return missing + ([] if seen["heading"] == "Services" else [seen["heading"]])

    _until_none(engine, faults)


def _until_none(engine: engines.Engine, faults: Any) -> None:
    deadline = time.monotonic() + _SECONDS
    while found := faults(engine.evaluate(_SEEN)):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
