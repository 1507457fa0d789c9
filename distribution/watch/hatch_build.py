"""Hooks of hatchling: version and dependencies of `vitals-watch`, and which files are in it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).resolve().parents[2]
CONTENT = "vitals_watch/content"
PACKAGES = ("alerts", "dashboards", "export", "rules", "stack")
FILES = (
    "prometheus/prometheus.yml",
    "prometheus/prometheus-pair.yml",
    "prometheus/targets/README.md",
    "grafana/viewer/index.html",  # whose policy the door sends
    # Of the service, what generated secrets are checked with.
    "service/__init__.py",
    "service/secret_files.py",
)
FOLDERS = ("prometheus/rules", "grafana/dashboards", "grafana/viewer/dist")
LEFT_OUT = (
    "stack/__main__.py",
    "stack/backtest/",
    "stack/drills/",
    "stack/install/client_tools.py",
    "stack/install/debian_suites.py",
    "stack/install/images.py",
    "stack/postgres_reader/",
    "stack/traffic.py",
    "stack/tsdb_replay.py",
    "stack/user_journeys.py",
)
"""What only the demo and the repository's own commands need."""
_SUFFIXES = {".json", ".md", ".py", ".sql", ".tmpl", ".yaml", ".yml"}
"""Of a package's files; what else is there was written by a run."""


def content() -> Iterator[str]:
    """Paths of the files, relative to the repository.

    Raises:
        FileNotFoundError: The viewer is not built.
    """
    if not (ROOT / "grafana/viewer/dist/index.html").exists():
        raise FileNotFoundError("the viewer is not built: run make dist")
    yield from FILES
    for folder in (*PACKAGES, *FOLDERS):
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            known = folder in FOLDERS or path.suffix in _SUFFIXES
            if path.is_file() and known and not name.startswith(LEFT_OUT):
                yield name


class Metadata(MetadataHookInterface):
    """The kit's version; the kit of the same version, and what the repository's watch needs."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in what is dynamic."""
        found = re.search(
            r'^__version__ = "(.+)"$', (ROOT / "vitals/__init__.py").read_text(), re.MULTILINE
        )
        if not found:
            raise ValueError("vitals/__init__.py has no __version__")
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        metadata["version"] = found[1]
        metadata["dependencies"] = sorted(
            [f"vitals-kit=={found[1]}", *groups["watch"], *groups["stack"]]
        )


class Build(BuildHookInterface[Any]):
    """Puts the repository's packages and rendered files into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files; an editable installation is not supported."""
        if version == "editable":
            raise ValueError("in a checkout, use make watch and python -m export")
        build_data["force_include"] |= {str(ROOT / name): f"{CONTENT}/{name}" for name in content()}
