"""Distributes secrets and configurations to containers and services: each gets only its own.

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
from stack.door import containers
from stack.door.settings import DoorSettings
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.service_user import ServiceUser
from stack.servers import redis
from vitals import secure_files

USERS = {
    "postgres": 999,
    "redis": 999,
    "api": 10001,
    "sample": 10001,
    "postgres-reader": 10001,
    "redis-reader": 10001,
    "prometheus": 65534,
    "alertmanager": 65534,
    "grafana": 472,
    "door": 10001,
}
"""Uid of each container that receives files."""

SECRETS = {
    "postgres": ("postgres-password", "database-password", "monitor-password"),
    "redis": ("redis-password",),
    "api": ("jwt-key", "database-password", "redis-password", "metrics-token"),
    "sample": ("database-password", "jwt-key", "admin-password", "demo-password"),
    "postgres-reader": ("monitor-password",),
    "redis-reader": ("redis-monitor-password",),
    "prometheus": ("metrics-token",),
    "alertmanager": (),
    "grafana": ("grafana-password",),
    "door": (),  # its Caddyfile has the hash of a password
}
"""The secrets that each container, and each service of the native stack, needs."""
_FOLDER = "handout"
DOOR_DATA = "door-data"
"""Where the volume of the door's certificates is mounted: its image's folder belongs to root."""
_INBOX = {
    "ALERT_WEBHOOK_URL": "http://inbox:9094/",
    "ALERT_HEARTBEAT_URL": "http://inbox:9094/heartbeat?within=150",
    "ALERT_BOARD_URL": "http://127.0.0.1:3000",
    "ALERT_NOTIFIED_URL": "http://gate:9093/notified",
}
_OF_PAIR = {
    "ALERT_NOTIFIED_URL": "http://gate:9093/notified http://gate-2:9093/notified",
}


def distribute(folder: Path, environment: Mapping[str, str]) -> None:
    """Generate missing secrets, and rewrite every container's folder.

    Args:
        folder: Folder in which the volumes are mounted.
        environment: ALERT_* variables name the receivers, by default the inbox; PUBLIC_* those of
            a door; with HA there is a pair.

    Raises:
        PublicUrlError: The public address is wrong.
        DoorSettingsError: Another setting of the door is.
    """
    all_secrets = folder / "all"
    secrets.make(all_secrets, None)
    for container, names in SECRETS.items():
        target, owner = folder / container, _owner(container)
        secure_files.make_directory(target, mode=0o500, owner=owner)
        for name in names:
            secure_files.write(
                target / name, secrets.read(all_secrets, name), mode=0o400, owner=owner
            )
    config = redis.configuration(
        6379,
        Path("/data"),
        password=secrets.read(all_secrets, "redis-password"),
        monitor_password=secrets.read(all_secrets, "redis-monitor-password"),
        host="0.0.0.0",  # noqa: S104 - the containers' own network
    )
    secure_files.write(
        folder / "redis" / "redis.conf",
        config,
        mode=0o400,
        owner=_owner("redis"),
    )
    pair = environment.get("HA", "") not in {"", "0"}
    defaults = _INBOX | (_OF_PAIR if pair else {})
    door_settings = DoorSettings.read(environment)
    (folder / DOOR_DATA).mkdir(exist_ok=True)
    secure_files.make_directory(folder / DOOR_DATA, owner=_owner("door"))
    if door_settings:
        password = secrets.read(all_secrets, "door-password")
        caddyfile = folder / "door" / "Caddyfile"
        containers.write(caddyfile, door_settings, password, _owner("door"), pair=pair)
        defaults |= containers.links(door_settings.url.origin)
    configured = {
        name: text for name, text in environment.items() if text and name.startswith("ALERT_")
    }
    overridden = {name.removesuffix("_FILE") for name in configured}
    chosen = {name: url for name, url in defaults.items() if name not in overridden} | configured
    target = folder / "alertmanager"
    file, owner = target / "alertmanager.yml", _owner("alertmanager")
    write(ReceiverSettings.read(chosen), file, target / "templates", owner=owner)


def provide(
    here: Installation, service: str, names: Iterable[str], user: ServiceUser | None
) -> Path:
    """Copy the secrets of a service of the native stack to a folder that only it can read.

    Args:
        here: The installation.
        service: Name of the folder.
        names: Names of the secrets; missing ones are skipped.
        user: Service user of the service.

    Returns:
        The folder. The current user keeps owning it, so the service user cannot create files in it.
    """
    folder = here.data / _FOLDER / service
    for each in (folder.parent, folder):
        secure_files.make_directory(each, mode=0o711)
    for name in names:
        with suppress(FileNotFoundError):
            text = secrets.read(here.secrets, name)
            owner = user.ids if user else None
            secure_files.write(folder / name, text, mode=0o400, owner=owner)
    return folder


def _owner(container: str) -> secure_files.Owner:
    return USERS[container], USERS[container]


if __name__ == "__main__":
    distribute(Path(sys.argv[1]), os.environ)
