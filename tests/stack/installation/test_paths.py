"""Owners of the files of an installation, and paths that it refuses."""

import os
import pwd
from pathlib import Path

import pytest

from stack import secret_distribution
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.ports import Ports
from stack.installation.service_user import ServiceUser

NOBODY = ServiceUser("nobody", *pwd.getpwnam("nobody")[2:4])
DAEMON = ServiceUser("daemon", *pwd.getpwnam("daemon")[2:4])
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has service users")


@root_only
def test_a_service_has_its_own_user_if_there_is_one(tmp_path: Path) -> None:
    here = Installation(tmp_path, Ports(), NOBODY, users={"redis": DAEMON})
    assert here.folder("redis").owner() == here.write("redis", "conf", "").owner() == "daemon"
    assert here.folder("more").owner() == "nobody"
    assert here.folder("redis").stat().st_mode & 0o777 == 0o700


@root_only
def test_files_of_the_previous_user_are_given_to_the_new_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "ours").write_text("")
    before = Installation(tmp_path, Ports(), NOBODY)
    path = before.write("prometheus", "block", "")
    (path.parent / "link").symlink_to(tmp_path / "ours")
    (path.parent / "hard").hardlink_to(tmp_path / "ours")
    (path.parent / "roots").write_text("")
    after = Installation(tmp_path, Ports(), NOBODY, users={"prometheus": DAEMON})
    assert after.folder("prometheus").owner() == path.owner() == "daemon"
    assert (tmp_path / "ours").owner() == (path.parent / "roots").owner() == "root"


def test_a_service_gets_its_secrets_and_cannot_add_files(tmp_path: Path) -> None:
    user = NOBODY if os.geteuid() == 0 else None
    here = Installation(tmp_path, Ports(), user)
    secrets.make(here.secrets, None)
    for _ in range(2):
        folder = secret_distribution.provide(
            here, "prometheus", ["metrics-token", "not-there"], user
        )
    assert [path.name for path in folder.iterdir()] == ["metrics-token"]
    assert (folder / "metrics-token").read_text() == secrets.read(here.secrets, "metrics-token")
    assert (folder / "metrics-token").stat().st_mode & 0o777 == 0o400
    if user:
        assert (folder / "metrics-token").owner() == "nobody"
        assert folder.owner() == folder.parent.owner() == here.secrets.owner() == "root"
    assert folder.stat().st_mode & 0o777 == 0o711


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "\udcff"])
def test_paths_with_control_characters_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LookupError, match="control characters"):
        Installation.here({"VITALS_DATA": str(tmp_path / name)})
