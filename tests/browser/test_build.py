"""The build of the viewer, without a browser."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from stack import viewer


def test_the_viewers_own_tests_pass(built: Path) -> None:
    done = subprocess.run(
        ["npm", "test"], cwd=viewer.SOURCES, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_main_bundle_stays_small(built: Path) -> None:
    """It was 861 kB, compressed."""
    page = (built / "index.html").read_text()
    main = re.search(r'<script type="module"[^>]* src="./(assets/[^"]+)"', page)
    assert main
    assert len(gzip.compress((built / main[1]).read_bytes())) <= 900_000


def test_the_build_contains_the_licence_notices(built: Path) -> None:
    notices = (built / "third-party-notices.txt").read_text()
    for name in ("@grafana/scenes", "react-dom", "uplot", "inter-ui", "dompurify"):
        assert f"{name} " in notices
    assert "AGPL" not in re.sub("GNU Affero General Public License", "", notices)


@pytest.mark.parametrize("icon", ["angle-double-left", "spinner", "sync-slash"])
def test_icons_that_the_library_does_not_ship_are_there(built: Path, icon: str) -> None:
    """The last one is seen only where a query takes longer than two seconds."""
    assert (built / "public/build/img/icons/unicons" / f"{icon}.svg").read_text().startswith("<svg")
