"""Distributes secrets and configurations to containers: each gets its own only.

`python -m stack.secret_distribution FOLDER` runs once before the other services of compose.yaml (as
service `setup`). The secrets themselves stay in FOLDER/all, which no other container mounts; every
other folder is a volume of one container, readable by the user that the container runs as.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from alerts.alertmanager import write
from alerts.receivers import ReceiverSettings
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.service_user import Account
from stack.servers import redis
from vitals import secure_files

USERS = {
    "postgres": 999,
    "redis": 999,
    "api": 10001,
    "sample": 10001,
    "prometheus": 65534,
    "alertmanager": 65534,
    "grafana": 472,
}
"""The numeric user of each container that receives something."""

SECRETS = {
    "postgres": ("postgres-password", "database-password"),
    "redis": ("redis-password",),
    "api": ("jwt-key", "database-password", "redis-password", "metrics-token"),
    "sample": ("database-password", "jwt-key", "admin-password", "demo-password"),
    "prometheus": ("metrics-token",),
    "alertmanager": (),
    "grafana": ("grafana-password",),
}
"""What each container, and each server of the native stack, needs of the secrets."""
_FOLDER = "handout"
_INBOX = {
    "ALERT_WEBHOOK_URL": "http://inbox:9094/",
    "ALERT_HEARTBEAT_URL": "http://inbox:9094/heartbeat?within=180",
    "ALERT_BOARD_URL": "http://127.0.0.1:3000",
}


def hand_out(folder: Path, environment: Mapping[str, str]) -> None:
    """Make the secrets once, and every container's folder anew.

    Args:
        folder: The volumes are mounted in it.
        environment: ALERT_* variables say whom alerts reach; by default the inbox.
    """
    kept = folder / "all"
    secrets.make(kept, None)
    for container, names in SECRETS.items():
        place, owner = folder / container, _owner(container)
        secure_files.make_directory(place, mode=0o500, owner=owner)
        for name in names:
            secure_files.write(place / name, secrets.read(kept, name), mode=0o400, owner=owner)
    password = secrets.read(kept, "redis-password")
    secure_files.write(
        folder / "redis" / "redis.conf",
        redis.configuration(6379, Path("/data"), password=password, host="0.0.0.0"),  # noqa: S104 - the containers' own network
        mode=0o400,
        owner=_owner("redis"),
    )
    given = {name: text for name, text in environment.items() if text}
    taken = {name.removesuffix("_FILE") for name in given}
    chosen = {name: url for name, url in _INBOX.items() if name not in taken} | given
    place = folder / "alertmanager"
    file, owner = place / "alertmanager.yml", _owner("alertmanager")
    write(ReceiverSettings.read(chosen), file, place / "templates", owner=owner)


def hand_over(here: Installation, part: str, names: Iterable[str], account: Account | None) -> Path:
    """Copy the secrets that a part of the native stack needs to where it alone can read them.

    Args:
        here: The installation.
        part: The folder's name.
        names: Those of the secrets; what is not there is left out.
        account: Whom the part runs as.

    Returns:
        The folder. It stays ours, so that the account cannot put anything into it.
    """
    folder = here.data / _FOLDER / part
    for each in (folder.parent, folder):
        secure_files.make_directory(each, mode=0o711)
    for name in names:
        with suppress(FileNotFoundError):
            text = secrets.read(here.secrets, name)
            owner = account.ids if account else None
            secure_files.write(folder / name, text, mode=0o400, owner=owner)
    return folder


def _owner(container: str) -> secure_files.Owner:
    return USERS[container], USERS[container]


if __name__ == "__main__":
    hand_out(Path(sys.argv[1]), os.environ)
