"""The door of compose.yaml: the Caddyfile of its container, and where messages lead to.

It listens on one port of the container's own; compose publishes it where PUBLIC_LISTEN says.
"""

from dataclasses import replace
from pathlib import Path

from stack.door import caddyfile, passages
from stack.door.passages import Upstreams
from stack.door.service import users, viewer_page, viewer_settings
from stack.door.settings import DoorSettings
from vitals import secure_files

PORT = 8443
"""What it listens on in its container; a port below 1024 needs a privilege."""
STORAGE = "/data/caddy"


def upstreams(*, pair: bool) -> Upstreams:
    """What is behind it."""
    return Upstreams(
        prometheus="prometheus:9090 prometheus-2:9090" if pair else "prometheus:9090",
        alertmanager="gate:9093 gate-2:9093" if pair else "gate:9093",
        store="tempo:3200",
        logs="loki:3100",
        issues="issues:9095",
    )


def write(
    file: Path, settings: DoorSettings, password: str, owner: secure_files.Owner, *, pair: bool
) -> None:
    """Write the Caddyfile.

    Args:
        file: Where.
        settings: The settings; what they say of listening is compose's part.
        password: Of the generated login.
        owner: Who may read it.
        pair: Whether there are two Prometheus and two gates.
    """
    text = caddyfile.render(
        replace(settings, host="0.0.0.0", port=PORT),  # noqa: S104 - of a container
        passages.of_viewer(upstreams(pair=pair)),
        storage=STORAGE,
        users=users(settings, password),
        policy=caddyfile.content_policy(viewer_page(), settings.url.origin),
        answers={"/settings.json": viewer_settings()},
    )
    secure_files.write(file, text, mode=0o400, owner=owner)


def links(origin: str) -> dict[str, str]:
    """Addresses in messages, by the variables that name them, as of the native stack."""
    return {
        "ALERT_BOARD_URL": origin,
        "ALERT_VIEWER_URL": origin,
        "ALERT_RUNBOOK_URL": f"{origin}/runbooks",
        "ALERT_SILENCE_URL": f"{origin}/silences/new/",
    }
