"""The examples of README and tutorial run as they stand, and measure what the text says."""

import asyncio
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from asgi_lifespan import LifespanManager
from prometheus_client import CollectorRegistry

from vitals import instrumentation

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _examples(page: str) -> list[str]:
    return [text for text in BLOCK.findall((ROOT / page).read_text()) if "FastAPI(" in text]


EXAMPLES = [
    pytest.param(text, id=f"{page}-{number}")
    for page in ("README.md", "docs/tutorial.md")
    for number, text in enumerate(_examples(page))
]


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("example", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_serves_and_is_measured(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = instrumentation.instrument.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "registry", CollectorRegistry())  # metrics of other tests
    monkeypatch.setitem(defaults, "logs", False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(text)
    app = _load(tmp_path / "shop.py").app

    async def ask() -> tuple[int, httpx.Response]:
        async with LifespanManager(app) as running:
            transport = httpx.ASGITransport(app=running.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                status = (await client.get("/hello/ada")).status_code
                return status, await client.get("/metrics")

    status, page = asyncio.run(ask())
    assert status == (200 if "/hello/" in text else 404)
    if "instrument(" not in text:
        assert page.status_code == 404
        return
    assert page.status_code == 200
    if "/hello/" in text:
        assert 'http_route="/hello/{name}"' in page.text
        assert re.search(
            r"^slo_events_total\{.*(latency.*good|good.*latency).*\} 1", page.text, re.MULTILINE
        )
    if "engine=engine" in text or "watch(" in text:
        assert "db_client_operation_duration_seconds_count{" in page.text
