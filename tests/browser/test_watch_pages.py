"""The pages about alerts, silences, targets, rules, runbooks and queries, on one running watch."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from export import static_site
from stack import viewer
from tests.browser import accessibility, watched
from tests.browser.conftest import SITE_FLAG, publish
from tests.browser.pages import Pages
from tests.browser.watched import ODD_JOB, Watch

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

_ELSEWHERE = ("traces", "logs", "issues", "profiles", "explore")  # tested with content on a store
PATHS = [path for path in static_site.PAGES if not path.startswith(_ELSEWHERE)]
PATHS += ["runbooks/LatencyP95High.md"]
WIDTHS = (390, 820, 1440, 2560)


@pytest.fixture(scope="module")
def watch(built: Path) -> Iterator[Watch]:
    with watched.start(lambda server: publish(built, server), SITE_FLAG) as running:
        yield running


@pytest.fixture(scope="module")
def offline(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that reaches this machine only; a request elsewhere fails its test."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, timezone_id="UTC", reduced_motion="reduce"
    )
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), _refuse)
    yield context
    context.close()


def _refuse(route: Route) -> None:
    route.fulfill(status=599, body="not on this machine")


@pytest.fixture
def site(watch: Watch, offline: BrowserContext) -> Iterator[Pages]:
    """Pages of one test; none may log errors. Silences end with it."""
    opened = Pages(watch.viewer, watch.prometheus.folder / "site", offline)
    yield opened
    watch.expire_all()
    opened.close()


def visit(site: Pages, address: str, *, width: int = 1440, height: int = 900) -> Page:
    """A page, by its path below the viewer or its whole address."""
    page = site.observed(site.context.new_page())
    page.set_viewport_size({"width": width, "height": height})
    page.goto(address if address.startswith("http") else f"{site.url}/{address}")
    page.get_by_role("heading", level=1).wait_for()
    return page


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


@pytest.mark.parametrize("path", PATHS)
def test_each_page_has_its_heading_and_is_accessible_at_any_size(site: Pages, path: str) -> None:
    page = visit(site, f"{path}/?theme=dark")
    title = static_site.PAGES.get(path, "LatencyP95High")
    assert heading(page) == title
    expect(page).to_have_title(f"{title} · Vitals")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        page.keyboard.press("t")  # both themes, each at two sizes
        site.quiet(page)
        assert not accessibility.serious(page), width
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0, f"{path} scrolls sideways at {width} px"


def test_every_link_of_a_message_leads_to_its_page(watch: Watch, site: Pages) -> None:
    links = watch.links()
    headings = {"Board": "Database", "Runbook": "LatencyP95High", "Silence": "New silence"}
    assert {*links} == {*headings}
    for name, title in headings.items():
        page = visit(site, links[name])
        assert heading(page) == title
        site.quiet(page)
        page.close()


def test_a_message_is_two_clicks_from_its_silence(watch: Watch, site: Pages) -> None:
    page = visit(site, watch.links()["Silence"])  # the first click
    expect(page.get_by_text("Silences 1 active alert: LatencyP95High")).to_be_visible()
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Silences")
    expect(page.get_by_role("status")).to_contain_text("Silenced until")
    (silence,) = watch.silences()
    matchers = {each["name"]: each["value"] for each in silence["matchers"]}
    assert matchers == {"alertname": "LatencyP95High", "job": ODD_JOB}
    assert silence["comment"] == "LatencyP95High is being worked on"
    assert silence["createdBy"] == "on call"
    begin, end = (datetime.fromisoformat(silence[name]) for name in ("startsAt", "endsAt"))
    assert 7000 < (end - begin).total_seconds() <= 7200

    listed = page.get_by_role("list", name="Silences").get_by_role("listitem")
    expect(listed).to_contain_text("Holds back")
    expect(listed.get_by_text("LatencyP95High", exact=True)).to_be_visible()
    alerts = visit(site, "alerts/")
    alert = (
        alerts.get_by_role("list", name="Alerts", exact=True)
        .get_by_role("listitem")
        .filter(has=alerts.get_by_role("heading", name="LatencyP95High"))
    )
    expect(alert).to_contain_text("Silenced by on call until")

    listed.get_by_role("button", name="Expire").click()
    expect(page.get_by_role("status")).to_contain_text("No silence is active")
    assert [each["status"]["state"] for each in watch.silences()] == ["expired"]
    page.get_by_text("1 expired").click()
    page.get_by_role("link", name="Silence again").click()
    expect(page.get_by_label("Value 2")).to_have_value(ODD_JOB)


def test_a_refused_silence_shows_why_and_what_was_typed(watch: Watch, site: Pages) -> None:
    page = visit(site, "silences/new/?filter=" + "%7Bjob%3D~%22a%2B%22%7D&minutes=45&comment=a%2Bb")
    expect(page.get_by_label("Label 1")).to_have_value("job")
    expect(page.get_by_label("Operator 1")).to_have_value("=~")
    expect(page.get_by_label("Value 1")).to_have_value("a+")
    expect(page.get_by_label("Duration")).to_have_value("45")
    expect(page.get_by_label("Comment")).to_have_value("a+b")
    page.get_by_label("Value 1").fill("(")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not silenced: ")
    expect(page.get_by_role("alert")).to_contain_text("regex")
    expect(page.get_by_label("Value 1")).to_have_value("(")
    page.get_by_label("Author").fill(" ")
    page.get_by_label("Value 1").fill("a")
    page.get_by_role("button", name="Silence", exact=True).click()
    assert page.get_by_label("Author").evaluate("input => !input.validity.valid")
    assert watch.silences() == [] or {each["status"]["state"] for each in watch.silences()} == {
        "expired"
    }
    assert all("400" in error for error in site.errors)
    site.errors.clear()


def test_alertmanagers_own_links_lead_to_the_same_pages(watch: Watch, site: Pages) -> None:
    filled = "%7Balertname%3D%22a%2Bb%22%7D"
    page = visit(site, f"{watch.gate}/#/silences/new?filter={filled}")
    expect(page.get_by_role("heading", level=1)).to_have_text("New silence")
    expect(page.get_by_label("Value 1")).to_have_value("a+b")
    page = visit(site, f"{watch.gate}/#/alerts?receiver=page")
    expect(page.get_by_role("heading", level=1)).to_have_text("Active alerts")


def test_alerts_have_their_state_since_when_and_links(watch: Watch, site: Pages) -> None:
    page = visit(site, "alerts/")
    alerts = page.get_by_role("list", name="Alerts", exact=True)

    def named(name: str, where: Locator = alerts) -> Locator:
        return where.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name))

    slow = named("LatencyP95High")
    expect(slow).to_contain_text("it is slow")
    expect(slow.get_by_text(f"job={ODD_JOB}")).to_be_visible()
    (delivered,) = httpx.get(
        f"{watch.alertmanager.url}/api/v2/alerts", params={"filter": 'alertname="LatencyP95High"'}
    ).json()
    fired = slow.locator("time").first.get_attribute("datetime")
    assert fired
    assert fired[:19] == delivered["startsAt"][:19]
    groups = httpx.get(f"{watch.prometheus.url}/api/v1/rules?type=alert").json()["data"]["groups"]
    (active,) = groups[0]["rules"][0]["alerts"]
    assert active["activeAt"][:19] < fired[:19]  # when its condition became true

    expect(named("NPlusOne")).to_contain_text(f"Inhibited byLatencyP95High of {ODD_JOB}")
    expect(named("SlowToFire")).to_contain_text("Pending since")
    expect(slow).to_contain_text("Worst routeGET /orders/{id}, 12 bad")
    expect(slow.get_by_role("link", name="Example trace")).to_have_attribute(
        "href", re.compile(r"/user/traces/example/\?service=api&reason=objective$")
    )
    expect(slow.get_by_role("link", name="Logs")).to_have_count(0)  # not an address of ours
    machines = page.get_by_role("list", name="Alerts for machines")
    expect(named("Watchdog", machines)).to_be_visible()
    page.get_by_label("Filter").fill("row each")
    expect(alerts.get_by_role("heading", level=2)).to_have_text(["NPlusOne"])
    page.get_by_label("Filter").fill("")

    slow.get_by_role("link", name="Board").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Database")
    assert parse_qs(urlsplit(page.url).query)["var-job"] == [ODD_JOB]
    page.go_back()
    slow.get_by_role("link", name="Silence").click()
    expect(page.get_by_label("Label 1")).to_have_value("alertname")
    values = [each.input_value() for each in page.get_by_label(re.compile("Value")).all()]
    assert ODD_JOB in values


def test_a_runbooks_queries_have_the_alerts_labels_and_time(watch: Watch, site: Pages) -> None:
    page = visit(site, watch.links()["Runbook"])
    asked = parse_qs(urlsplit(page.url).query)
    quoted = ODD_JOB.replace("\\", "\\\\").replace('"', '\\"')
    expect(page.locator("pre").first).to_contain_text(f'{{job="{quoted}"}}')
    expect(page.get_by_role("list", name="Now").first).to_have_text("no result now")
    page.get_by_role("link", name="Run", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Query")
    expect(page.get_by_label("PromQL")).to_have_value(re.compile(re.escape(quoted)))
    site.settle(page)
    run = parse_qs(urlsplit(page.url).query)
    assert int(asked["from"][0]) == _milliseconds(run["from"][0])
    page = visit(site, watch.links()["Runbook"])
    page.get_by_role("link", name="SlowQueryRatioHigh").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("SlowQueryRatioHigh")
    expect(page.locator("pre").first).to_contain_text(f'job="{quoted}"')


def _milliseconds(text: str) -> int:
    """A time in a URL: the picker writes ISO 8601."""
    return int(text) if text.isdecimal() else round(datetime.fromisoformat(text).timestamp() * 1000)


def test_a_query_is_run_from_the_keyboard_and_shows_errors(site: Pages) -> None:
    page = visit(site, "query/")
    box = page.get_by_label("PromQL")
    box.fill("count by (job) (up)")
    box.press("Control+Enter")
    expect(page.get_by_role("gridcell").filter(has_text=ODD_JOB)).to_be_visible()
    expect(page.get_by_role("gridcell").filter(has_text=re.compile("^2$"))).to_be_visible()
    box.fill("count by (")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile("parse error")).first).to_be_visible()
    assert all("400" in error for error in site.errors)
    site.errors.clear()


def test_targets_show_which_scrape_fails_and_why(site: Pages) -> None:
    page = visit(site, "targets/")
    expect(page.get_by_role("status")).to_have_text("1 of 2 are up")
    targets = page.get_by_role("list", name="Targets").locator("> li")
    expect(targets).to_have_count(2)
    expect(targets.first).to_contain_text("connection refused")
    expect(targets.first.get_by_text("down", exact=True)).to_be_visible()
    expect(targets.last.get_by_text("up", exact=True)).to_be_visible()
    expect(targets.last).to_contain_text(re.compile(r"Last scrape.* UTC\+00:00 \(.*ago\)"))


def test_rules_show_their_expression_health_and_duration(site: Pages) -> None:
    page = visit(site, "rules/")
    expect(page.get_by_role("status")).to_have_text("6 rules, 1 of them fail")
    rules = page.get_by_role("list", name="Rules of drill").locator("> li")
    expect(rules).to_have_count(6)
    failing = rules.filter(has=page.get_by_role("heading", name="failing"))
    expect(failing.get_by_role("alert")).to_contain_text("same labelset")
    counts = rules.filter(has=page.get_by_role("heading", name="job:up:count"))
    expect(counts.locator("pre")).to_have_text("count by (job) (up)")
    expect(counts).to_contain_text(re.compile(r"took[\d.]+ (ms|s)"))
    page.get_by_label("Filter").fill("job:up")
    expect(rules).to_have_count(1)
    counts.get_by_role("link", name="Query").click()
    expect(page.get_by_label("PromQL")).to_have_value("count by (job) (up)")
    site.settle(page)


def test_pages_are_reached_and_refreshed_from_the_keyboard(watch: Watch, site: Pages) -> None:
    page = visit(site, "targets/?theme=dark")
    with page.expect_request(re.compile("api/v1/targets")):
        page.keyboard.press("r")
    page.keyboard.press("t")
    expect(page).to_have_url(re.compile("theme=light"))
    link = page.get_by_role("navigation", name="Pages").get_by_role("link", name="Rules")
    for _ in range(40):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rules")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", level=1)).to_have_text("Services")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Active alerts").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Active alerts")


def test_without_alertmanager_alerts_are_shown_and_silences_say_why_not(
    watch: Watch, site: Pages
) -> None:
    watch.alertmanager.stop()
    try:
        page = visit(site, "alerts/")
        expect(page.get_by_text("Alertmanager is not responding").first).to_be_visible()
        expect(page.get_by_role("heading", name="LatencyP95High")).to_be_visible()
        page = visit(site, "silences/")
        expect(page.get_by_role("alert")).to_contain_text("Alertmanager is not responding")
        expect(page.get_by_text("No silence is active")).to_have_count(0)
    finally:
        watch.alertmanager.start()
    assert all("502" in error for error in site.errors)
    site.errors.clear()


def test_every_runbook_is_a_page(site: Pages) -> None:
    page = visit(site, "runbooks/")
    names = sorted(file.stem for file in viewer.RUNBOOKS.glob("*.md"))
    expect(page.get_by_role("list", name="Runbooks").get_by_role("heading")).to_have_text(names)
    served = {
        name: httpx.get(f"{site.url}/runbooks/{name}.md", follow_redirects=True).status_code
        for name in names
    }
    assert served == dict.fromkeys(names, 200)
