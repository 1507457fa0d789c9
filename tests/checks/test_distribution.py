"""The kit as it is published: its wheel in an empty environment, without any extra."""

import re
import subprocess
import sys
import textwrap
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from checks import distribution
from checks.files import ROOT

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
README = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOCKED = ROOT / "requirements" / "dev.txt"

GET = """
import asyncio

async def receive():
    return {"type": "http.request"}

async def get(path):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
             "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "root_path": "", "scheme": "http", "headers": [], "client": ("127.0.0.1", 1),
             "server": ("127.0.0.1", 80)}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return distribution.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def core(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel alone."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    uv = str(BIN / "uv")
    made = [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
    subprocess.run(made, check=True)
    python = folder / "bin" / "python"
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--constraint",
        str(LOCKED),
    ]
    subprocess.run([*command, str(built[0])], check=True)
    return python


def run(python: Path, code: str, folder: Path, **environment: str) -> str:
    """Run code in the environment, away from this checkout."""
    command = [str(python), "-I", "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_distributions_hold_the_kit_and_nothing_else(built: tuple[Path, Path]) -> None:
    distribution.check(*built)


def test_a_file_too_many_is_an_error(built: tuple[Path, Path], tmp_path: Path) -> None:
    wheel, sdist = built
    more = tmp_path / wheel.name
    more.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("service/settings.py", "")
    with pytest.raises(distribution.DistributionError, match=r"service/settings\.py"):
        distribution.check(more, sdist)


def test_the_metadata_pin_nothing_and_never_ask_for_grpcio(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    required = metadata.get_all("Requires-Dist") or []
    assert metadata["Name"] == "vitals-kit"
    assert not [each for each in required if "==" in each.partition(";")[0]]
    core = {re.split(r"[<>=!~\[; ]", each)[0] for each in required if "extra ==" not in each}
    assert core == {"anyio", "fastapi", "prometheus-client", "pydantic", "starlette"}
    extras = {"all", "bodies", "cache", "logs", "otel", "postgres", "sql", "watch"}
    assert extras <= set(metadata.get_all("Provides-Extra") or [])
    locked = {line.partition("==")[0] for line in LOCKED.read_text().splitlines()}
    assert "opentelemetry-sdk" in locked
    assert "grpcio" not in locked


def test_the_readmes_snippet_runs_with_the_core_alone(core: Path, tmp_path: Path) -> None:
    (snippet,) = (text for text in README.findall((ROOT / "README.md").read_text()))
    assert "service_name=" in snippet
    code = """
    async def main():
        print((await get("/openapi.json"))[0])
        print((await get("/metrics"))[1].decode())

    asyncio.run(main())
    """
    printed = run(core, snippet + GET + textwrap.dedent(code), tmp_path)
    assert printed.startswith("200\n")
    counted = r'^http_server_request_duration_seconds_count\{.*http_route="/openapi.json".*\} 1'
    assert re.search(counted, printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("option", "extra"),
    [
        ("engine=object()", "sql"),
        ("otlp_endpoint='http://127.0.0.1:9'", "otel"),
        ("logs='json'", "logs"),
        ("body_logging=object()", "bodies"),
        ("validation=object()", "bodies"),
        ("redaction=object(), logs='json'", "logs"),
    ],
)
def test_an_option_that_needs_an_extra_names_it(
    option: str, extra: str, core: Path, tmp_path: Path
) -> None:
    code = f"""
    from fastapi import FastAPI
    from vitals import instrument

    try:
        instrument(FastAPI(), {option})
    except ImportError as error:
        print(error)
    """
    assert f"pip install 'vitals-kit[{extra}]'" in run(core, code, tmp_path)


@pytest.mark.parametrize("name", ["BodyLogging", "Redaction"])
def test_a_name_that_needs_an_extra_names_it(name: str, core: Path, tmp_path: Path) -> None:
    code = f"""
    try:
        from vitals import {name}
    except ImportError as error:
        print(error)
    """
    assert "pip install 'vitals-kit[bodies]'" in run(core, code, tmp_path)


def test_an_endpoint_of_the_environment_does_not_stop_the_service(
    core: Path, tmp_path: Path
) -> None:
    code = """
    import logging, sys
    from fastapi import FastAPI
    from vitals import instrument

    logging.basicConfig(stream=sys.stdout)
    app = FastAPI()
    instrument(app)
    """
    code = textwrap.dedent(code) + GET + 'asyncio.run(get("/openapi.json"))'
    printed = run(core, code, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert "pip install 'vitals-kit[otel]'" in printed
    assert "vitals-kit" not in run(core, code, tmp_path)


def test_the_commands_of_a_database_name_their_extra(core: Path, tmp_path: Path) -> None:
    command = [
        str(core.parent / "vitals"),
        "locks",
        "--database",
        "postgresql+asyncpg://127.0.0.1/x",
    ]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'vitals-kit[sql]'" in done.stderr
