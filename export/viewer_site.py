"""The viewer as a folder that a Prometheus serves at ``/user/``: boards without Grafana."""

import tempfile
from pathlib import Path

from export import static_site
from export.files import as_json
from export.grafana import boards
from export.options import InvalidOptionError, Options

NAME = "site"
"""The folder's name."""
_ROOT = Path(__file__).parents[1]
_BUILT = _ROOT / "grafana" / "viewer" / "dist"
_RUNBOOKS = _ROOT / "alerts" / "runbooks"
_OURS = "settings.json"
"""A file of each viewer that was published."""


def check(folder: Path) -> None:
    """Check that it can be written.

    Args:
        folder: It will be in this one.

    Raises:
        InvalidOptionError: The viewer is not built, or a folder of that name is there already.
    """
    site = folder / NAME
    if not (_BUILT / "index.html").exists():
        raise InvalidOptionError("the viewer is not built here: make dist builds it")
    if site.exists() and not (site / _OURS).exists():
        raise InvalidOptionError(f"{site} is there and no export wrote it: choose another folder")


def publish(folder: Path, options: Options) -> None:
    """Write the folder, or replace it.

    Args:
        folder: It is made in this one.
        options: Of the export; boards have its identity labels.
    """
    with tempfile.TemporaryDirectory() as drawn:
        for uid, board in boards(options).items():
            (Path(drawn) / f"{uid}.json").write_text(as_json(board), "utf-8")
        static_site.publish(_BUILT, Path(drawn), _RUNBOOKS, folder / NAME, {})
