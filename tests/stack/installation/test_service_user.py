"""Which folders a service user may enter."""

import os
import pwd
from pathlib import Path

from stack.installation.service_user import ServiceUser

NOBODY = ServiceUser("nobody", *pwd.getpwnam("nobody")[2:4])


def test_a_folder_in_a_private_parent_is_not_reachable(tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    outer.chmod(0o700)
    assert not NOBODY.can_reach(inner)
    assert ServiceUser("us", os.getuid(), os.getgid()).can_reach(inner)


def test_a_missing_folder_counts_by_its_parent() -> None:
    assert NOBODY.can_reach(Path("/tmp/not-there-yet/neither"))  # noqa: S108 - not made
