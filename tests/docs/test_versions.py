"""The page of versions lists what is declared, and the versions that the programs have."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from stack.install import debian_suites
from stack.installation.paths import CHECKOUT
from stack.servers import postgres
from tests import servers
from tests.conftest import SUITES

PAGE = (CHECKOUT / "docs" / "versions.md").read_text()
_RUN, _, _CONFIGURED = PAGE.partition("## By configuration only")


def _row(program: str, suite: str) -> str:
    """The version that the page gives."""
    of = "installed \\(12\\)" if suite == "installed" else suite
    found = re.search(rf"^\| {program}[^|]* \| {of} \| ([\d.]+) \|$", _RUN, re.MULTILINE)
    assert found, f"{program} of {suite} has no row"
    return found[1]


def _version(program: str | Path) -> str:
    done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    return found[0]


def _skip_unless_of_the_page() -> None:
    if "VERSION_CODENAME=bookworm" not in Path("/etc/os-release").read_text():
        pytest.skip("the page gives the versions of Debian 12")


def _installed(*names: str) -> Path:
    return Path(next(filter(None, map(shutil.which, names))) or "")


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("program", ["prometheus", "alertmanager"])
def test_suites_have_the_major_versions_that_the_page_gives(suite: str, program: str) -> None:
    """Minor versions of Debian's suites change by themselves."""
    if suite == "installed":
        _skip_unless_of_the_page()
    path = (
        _installed(program, f"prometheus-{program}")
        if suite == "installed"
        else debian_suites.fetch(suite) / program
    )
    given = _row(program.capitalize(), suite)
    assert _version(path).split(".")[0] == given.split(".")[0]


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("PostgreSQL", lambda: postgres.binary("postgres")),
        ("Redis", lambda: _installed("redis-server")),
        ("PgBouncer", lambda: _installed("pgbouncer")),
    ],
    ids=["PostgreSQL", "Redis", "PgBouncer"],
)
def test_installed_servers_have_the_versions_that_the_page_gives(name: str, paths: object) -> None:
    _skip_unless_of_the_page()
    assert callable(paths)
    version = _version(paths())
    assert version.startswith(_row(name, "installed")), version


def test_victoriametrics_is_run() -> None:
    assert _row("VictoriaMetrics", debian_suites.NEWER[-1])
    programs = {path.name for path in servers.victoria_metrics_programs().iterdir()}
    assert {"victoria-metrics", "vmagent", "vmalert", "vmalert-tool", "vmauth", "vmctl"} <= programs


def test_each_image_has_a_row_and_no_row_is_left_without_its_image() -> None:
    compose = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
    images = {service["image"].partition("@")[0] for service in compose["services"].values()}
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    images |= {
        found.partition("@")[0]
        for found in re.findall(r"^FROM (\S+:\S+)", dockerfile, re.MULTILINE)
    }
    declared = {image for image in images if not image.startswith("vitals-")}
    assert {*re.findall(r"^\| `(\S+:\S+)` \|", _CONFIGURED, re.MULTILINE)} == declared
