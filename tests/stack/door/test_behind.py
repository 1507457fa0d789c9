"""The real stack behind the door: silences and live lines, with the login only."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from stack.installation.paths import CHECKOUT
from stack.installation.ports import Ports
from stack.readiness import free_port
from tests import servers

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not shutil.which("caddy"), reason="Caddy is not installed"),
]


@pytest.fixture(scope="module")
def watch() -> Iterator[tuple[str, httpx.Client]]:
    """A watch with a door on loopback: its address, and a client with the login."""
    folder, port = servers.temporary_folder(), free_port()
    origin = f"https://127.0.0.1:{port}"
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ALERT_")},
        **{f"{name}_PORT": str(free_port()) for name in Ports.chosen()},
        "VITALS_DATA": str(folder),
        "PUBLIC_URL": origin,
    }
    command = [sys.executable, "-m", "stack", "watch", "--job", "shop", "127.0.0.1:1"]
    running = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout
        said = []
        for line in running.stdout:
            said.append(line)
            if line == "Ready.\n":
                break
        else:
            raise AssertionError("".join(said))
        password = (folder / "secrets" / "door-password").read_text().strip()
        links = "".join(p.read_text() for p in (folder / "alertmanager").rglob("*.tmpl"))
        assert f"{origin}/runbooks" in links
        assert "http://127.0.0.1" not in links
        with httpx.Client(base_url=origin, auth=("watch", password), verify=False) as client:  # noqa: S501
            yield origin, client
    finally:
        running.terminate()
        running.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def silence() -> dict[str, object]:
    now = datetime.now(UTC)
    return {
        "matchers": [{"name": "alertname", "value": "X", "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
        "createdBy": "ann",
        "comment": "on it",
    }


def test_a_silence_is_created_and_expired_by_the_page_only(
    watch: tuple[str, httpx.Client],
) -> None:
    origin, client = watch
    url, page = "/alertmanager/api/v2/silences", {"Origin": origin}
    with httpx.Client(base_url=origin, verify=False) as stranger:  # noqa: S501
        assert stranger.post(url, json=silence(), headers=page).status_code == 401
    foreign = {"Origin": "https://evil.example"}
    assert client.post(url, json=silence(), headers=foreign).status_code == 403
    text = {**page, "Content-Type": "text/plain"}
    assert client.post(url, content=b"{}", headers=text).status_code == 415
    assert client.get(url).json() == []
    created = client.post(url, json=silence(), headers=page)
    assert created.status_code == 200
    number = created.json()["silenceID"]
    expired = client.delete(f"/alertmanager/api/v2/silence/{number}", headers=page)
    assert expired.status_code == 200
    assert client.get(url).json()[0]["status"]["state"] == "expired"


def test_live_lines_are_for_those_who_have_logged_in(watch: tuple[str, httpx.Client]) -> None:
    origin, client = watch
    url = "/store/loki/api/v1/tail?query=%7Blevel%3D%22info%22%7D"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": origin,
    }
    with httpx.Client(base_url=origin, verify=False) as stranger:  # noqa: S501
        assert stranger.get(url, headers=upgrade).status_code == 401
    assert client.get(url, headers={**upgrade, "Origin": "https://evil"}).status_code == 403
    with client.stream("GET", url, headers=upgrade) as accepted:
        assert accepted.status_code == 101
