"""The API's documentation page in a real browser: no requests to other hosts, no CSP violations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from tests.service.process import Running, serving
from tests.service.running import settings_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    with serving(settings_for(tmp_path)) as running:
        yield running


def test_the_docs_page_needs_no_other_host_and_violates_no_policy(
    context: BrowserContext, service: Running
) -> None:
    page = context.new_page()
    errors: list[str] = []
    foreign: list[str] = []

    def intercept(route: Route) -> None:
        if route.request.url.startswith((service.url + "/", "data:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    page.route("**/*", intercept)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(f"{message.type}: {message.text}"))
    page.add_init_script(
        "addEventListener('securitypolicyviolation', broken =>"
        " console.error(broken.violatedDirective, broken.blockedURI))"
    )
    page.goto(f"{service.url}/docs")
    expect(page.get_by_role("heading", name="Shop API")).to_be_visible()
    path = page.locator("[data-path='/api/categories']")
    operation = page.locator(".opblock-get", has=path)
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    status = operation.locator(".live-responses-table .response .response-col_status")
    expect(status).to_contain_text("200")
    page.close()
    assert (foreign, errors) == ([], [])
