"""``vitals export`` from the wheels: the files of a checkout, with all options."""

import zipfile
from pathlib import Path

import pytest

from checks import distribution
from export.__main__ import main as export
from tests.distribution.conftest import Run

# The viewer may have to be built.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OPTIONS = (
    *("--identity", "cluster,job", "--label", "team=shop", "--without", "Watchdog"),
    *("--set", "RouteSlow.for=10m", "--folder", "Shop", "--datasource", "metrics"),
    *("--boards", "https://grafana.example", "--namespace", "shop", "--drop-unread"),
)
EVERY_MODULE = """
import importlib, pkgutil, vitals_watch
vitals_watch._add_to_path()
for name in ("alerts", "dashboards", "export", "rules", "service", "stack"):
    package = importlib.import_module(name)
    assert "vitals_watch" in package.__path__[0], package
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            print(module.name)
"""


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["prometheus", "grafana", "kubernetes"])
def test_the_files_are_those_of_a_checkout(name: str, run: Run, tmp_path: Path) -> None:
    done = run("vitals", "export", "--for", name, "--to", "installed", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert export(["--for", name, "--to", str(tmp_path / "checkout"), *OPTIONS]) == 0
    assert files(tmp_path / "installed") == files(tmp_path / "checkout")


def test_an_error_is_that_of_the_command(run: Run) -> None:
    done = run("vitals", "export", "--for", "prometheus", "--to", "out", "--set", "RouteSlow=1")
    assert done.returncode == 2
    assert "write ALERT.FIELD=VALUE" in done.stderr
    assert run("vitals", "export", "--help").stdout.startswith("usage: vitals export")


def test_every_module_finds_what_it_imports_and_none_is_in_site_packages(
    run: Run, installed: Path
) -> None:
    done = run("python", "-I", "-c", EVERY_MODULE)
    assert done.returncode == 0, done.stderr
    assert "stack.run" in done.stdout.split()
    names = {path.name for path in installed.parent.glob("lib/*/site-packages/*")}
    assert {"vitals", "vitals_watch"} <= names
    assert not names & {"alerts", "dashboards", "export", "rules", "service", "stack"}


def test_a_file_that_git_does_not_track_is_an_error(wheels: Path, tmp_path: Path) -> None:
    (wheel,) = wheels.glob("vitals_watch*.whl")
    distribution.check_watch(wheel)
    more = tmp_path / wheel.name
    more.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr("vitals_watch/content/prometheus/targets/mine.yml", "")
    with pytest.raises(distribution.DistributionError, match=r"targets/mine\.yml"):
        distribution.check_watch(more)
