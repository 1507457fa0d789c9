"""Hands secrets and configurations to containers: each gets its own, and nobody else's.

`python -m stack.handout FOLDER` runs once before the others (compose.yaml, service `setup`). The
secrets themselves stay in FOLDER/all, which no other container sees; every other folder is a
volume of one container, readable by the user that it runs as.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from alerts.delivery import write
from alerts.receivers import Environment
from stack import redis, secrets

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

_SECRETS = {
    "postgres": ("postgres-password", "database-password"),
    "redis": ("redis-password",),
    "api": ("jwt-key", "database-password", "redis-password", "metrics-token"),
    "sample": ("database-password", "jwt-key", "admin-password", "demo-password"),
    "prometheus": ("metrics-token",),
    "alertmanager": (),
    "grafana": ("grafana-password",),
}
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
    for container, names in _SECRETS.items():
        place = folder / container
        place.mkdir(exist_ok=True)
        for name in names:
            _put(place / name, secrets.read(kept, name))
    password = secrets.read(kept, "redis-password")
    _put(
        folder / "redis" / "redis.conf",
        redis.configuration(6379, Path("/data"), password=password, host="0.0.0.0"),  # noqa: S104 - the containers' own network
    )
    given = {name: text for name, text in environment.items() if text}
    taken = {name.removesuffix("_FILE") for name in given}
    chosen = {name: url for name, url in _INBOX.items() if name not in taken} | given
    alertmanager = folder / "alertmanager"
    write(Environment.read(chosen), alertmanager / "alertmanager.yml", alertmanager / "templates")
    for container, user in USERS.items():
        _give(folder / container, user)


def _put(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text)


def _give(folder: Path, user: int) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
        os.chown(path, user, user)
    folder.chmod(0o500)
    os.chown(folder, user, user)


if __name__ == "__main__":
    hand_out(Path(sys.argv[1]), os.environ)
