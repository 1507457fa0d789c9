"""Which folders an account may enter."""

import os
import pwd
from pathlib import Path

from stack.installation.service_user import Account

NOBODY = Account("nobody", *pwd.getpwnam("nobody")[2:4])


def test_a_closed_parent_is_noticed(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    outer.chmod(0o700)
    assert not NOBODY.reaches(inner)
    assert Account("us", os.getuid(), os.getgid()).reaches(inner)


def test_a_folder_that_is_not_there_yet_counts_by_its_parent() -> None:
    assert NOBODY.reaches(Path("/tmp/not-there-yet/neither"))  # noqa: S108 - not made
