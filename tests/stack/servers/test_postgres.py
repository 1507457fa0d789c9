"""PostgreSQL's files: clusters are created atomically, stale pid files removed."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack.installation import service_user
from stack.servers import postgres as cluster
from tests import servers

pytestmark = pytest.mark.servers


def test_a_pid_file_with_a_reused_pid_is_removed(tmp_path: Path) -> None:
    pid_file = tmp_path / "postmaster.pid"
    for pid in (os.getpid(), 2**22 + 1):
        pid_file.write_text(f"{pid}\n{tmp_path}\n")
        cluster.remove_stale_pid_file(tmp_path)
        assert not pid_file.exists()


def test_a_pid_file_that_is_a_link_or_pipe_is_refused_without_blocking(
    tmp_path: Path,
) -> None:
    pid_file, ours = tmp_path / "postmaster.pid", tmp_path / "ours"
    ours.write_text("1\n")
    pid_file.symlink_to(ours)
    with pytest.raises(PermissionError, match="postmaster"):
        cluster.remove_stale_pid_file(tmp_path)
    pid_file.unlink()
    os.mkfifo(pid_file)
    with pytest.raises(PermissionError, match="postmaster"):
        cluster.remove_stale_pid_file(tmp_path)
    assert ours.exists()


def test_the_pid_file_of_a_running_server_is_kept(postgres: servers.Postgres) -> None:
    pid_file = postgres.folder / "data" / "postmaster.pid"
    cluster.remove_stale_pid_file(postgres.folder / "data")
    assert pid_file.read_text().startswith(f"{postgres.pid}\n")


def test_a_partial_cluster_is_replaced() -> None:
    folder = servers.temporary_folder()
    (folder / "password").write_text("made-up-for-tests")
    (folder / "data.draft").mkdir()
    (folder / "data.draft" / "half").touch()
    cluster.make_cluster(folder / "data", service_user.default_user(), folder / "password")
    assert (folder / "data" / "PG_VERSION").exists()
    assert not (folder / "data" / "half").exists()
    assert "trust" not in (folder / "data" / "pg_hba.conf").read_text()


@pytest.mark.parametrize("sync", [True, False])
def test_a_new_cluster_is_flushed_to_disk_unless_it_is_throw_away(
    monkeypatch: pytest.MonkeyPatch, *, sync: bool
) -> None:
    commands: list[list[str]] = []
    synced: list[str] = []
    run, fsync = subprocess.run, os.fsync

    def record(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    def sync_one(opened: int) -> None:
        synced.append(Path(f"/proc/self/fd/{opened}").readlink().name)
        fsync(opened)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setattr(os, "fsync", sync_one)
    folder = servers.temporary_folder()
    (folder / "password").write_text("made-up-for-tests")
    cluster.make_cluster(
        folder / "data", service_user.default_user(), folder / "password", sync=sync
    )
    assert ("--no-sync" in commands[0]) is not sync
    names = [name.removeprefix(".").partition(".conf")[0] for name in synced]
    assert names == (["pg_hba", "data.draft", folder.name] if sync else [])


def test_only_password_authentication_is_allowed(postgres: servers.Postgres) -> None:
    rules = postgres.sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert rules == "scram-sha-256"
