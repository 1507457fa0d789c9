"""Secret distribution: each container gets its own secrets, readable by its own user."""

import os
from pathlib import Path

import pytest
import yaml

from stack import secret_distribution


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if os.geteuid() != 0:  # only root gives files away
        monkeypatch.setattr(
            secret_distribution, "USERS", dict.fromkeys(secret_distribution.USERS, os.getuid())
        )
    secret_distribution.distribute(tmp_path, {})
    return tmp_path


def test_each_container_gets_only_its_own_secrets(folder: Path) -> None:
    assert {path.name for path in (folder / "prometheus").iterdir()} == {"metrics-token"}
    assert {path.name for path in (folder / "grafana").iterdir()} == {"grafana-password"}
    shared = (folder / "all" / "redis-password").read_text()
    assert (folder / "api" / "redis-password").read_text() == shared
    assert f"requirepass {shared}" in (folder / "redis" / "redis.conf").read_text()


def test_only_its_user_can_read_them(folder: Path) -> None:
    for container, user in secret_distribution.USERS.items():
        for path in (folder / container, *(folder / container).rglob("*")):
            assert path.stat().st_uid == user
            assert path.stat().st_mode & 0o077 == 0


def test_a_second_run_keeps_the_secrets(folder: Path) -> None:
    before = (folder / "api" / "jwt-key").read_text()
    secret_distribution.distribute(folder, {"ALERT_WEBHOOK_URL": "http://example.com/hook"})
    assert (folder / "api" / "jwt-key").read_text() == before
    config = yaml.safe_load((folder / "alertmanager" / "alertmanager.yml").read_text())
    hooks = {
        hook["url"]
        for receiver in config["receivers"]
        for hook in receiver.get("webhook_configs", [])
    }
    assert hooks == {
        "http://example.com/hook",
        "http://inbox:9094/heartbeat?within=150",
        "http://gate:9093/notified",
    }
