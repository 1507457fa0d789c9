"""Linters find nothing in the OpenAPI document, and clients generated from it work.

The programs come with ``python -m stack install --for-tests``; a test installs what is missing.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from stack.install import client_tools
from tests.service.process import ROOT, Running, serving
from tests.service.running import running, settings_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]  # the first one fetches packages

DOCUMENT = ROOT / "docs" / "openapi.json"
FOLDER = Path(__file__).parent
ORDER = {"status": "placed", "total_cents": 500}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that sells one product for 250 cents."""
    settings = settings_for(tmp_path_factory.mktemp("service"))
    asyncio.run(_offer(settings))
    with serving(settings) as started:
        yield started


async def _offer(settings: Settings) -> None:
    async with running(settings) as prepared:
        await prepared.product(price_cents=250)


def run(program: Path | str, *words: Path | str, cwd: Path) -> str:
    """Run a program that must succeed; returns what it prints."""
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "CI": "1"}
    done = subprocess.run(
        [program, *words],
        cwd=cwd,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def placed(output: str) -> None:
    """Expect that a client placed an order, and got problem details for one that is missing."""
    result: dict[str, Any] = json.loads(output)
    assert result["order"].items() >= ORDER.items()
    assert result["order"]["items"][0].items() >= {"quantity": 2, "price_cents": 250}.items()
    assert result["missing"] == 404


def test_spectral_finds_nothing(tmp_path: Path) -> None:
    spectral = client_tools.node_programs() / "spectral"
    rules = FOLDER / "spectral.yaml"
    run(spectral, "lint", "--fail-severity=hint", f"--ruleset={rules}", DOCUMENT, cwd=tmp_path)


@pytest.mark.long
def test_redocly_finds_nothing(tmp_path: Path) -> None:
    redocly = client_tools.node_programs() / "redocly"
    rules = FOLDER / "redocly.yaml"
    run(redocly, "lint", "--max-problems=1000", f"--config={rules}", DOCUMENT, cwd=tmp_path)


def test_a_typescript_client_places_an_order(service: Running, tmp_path: Path) -> None:
    programs = client_tools.node_programs()
    for name in ("place_order.ts", "tsconfig.json", "package.json"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(programs.parent)
    run(programs / "openapi-typescript", DOCUMENT, "--output", "shop.ts", cwd=tmp_path)
    run(programs / "tsc", cwd=tmp_path)
    placed(run("node", "place_order.js", service.url, cwd=tmp_path))


@pytest.mark.long
def test_a_python_client_places_an_order(service: Running, tmp_path: Path) -> None:
    programs = client_tools.python_programs()
    generator = programs / "openapi-python-client"
    config = f"--config={FOLDER / 'openapi-python-client.yaml'}"
    options = [f"--path={DOCUMENT}", config, "--meta=none", "--fail-on-warning"]
    run(generator, "generate", *options, cwd=tmp_path)
    shutil.copy(FOLDER / "place_order.py", tmp_path)
    python = programs / "python"
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={python}"]
    cache = f"--cache-dir={programs.parent / '.mypy_cache'}"
    run(*mypy, cache, "--config-file=", "place_order.py", cwd=tmp_path)
    placed(run(python, "place_order.py", service.url, cwd=tmp_path))
