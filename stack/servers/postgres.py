"""PostgreSQL: its cluster on disk, its server, its roles and databases."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack import readiness
from stack.installation.service_user import Account
from stack.process.process import Program
from vitals import secure_files

SUPERUSER = "postgres"
DATABASE = "vitals"
ROLE = "vitals"
"""The API's role: it owns its databases and is no superuser."""

_HBA = """\
# Passwords, from this machine, and nothing else.
host all all 127.0.0.1/32 scram-sha-256
"""
_DEBIAN = Path("/usr/lib/postgresql")


def binary(name: str) -> str:
    """Where a program of PostgreSQL lies: the newest of Debian's, else the one on PATH.

    Raises:
        FileNotFoundError: There is none.
    """
    versions = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"no {name} of PostgreSQL found: python -m stack install")
    return found


def make_cluster(
    data: Path, account: Account | None, password_file: Path, *, sync: bool = True
) -> None:
    """Make the files of a cluster, unless they are there.

    The cluster is made beside its place and moved there when it is whole, so that a broken-off
    first start leaves nothing that looks finished.

    Args:
        data: Where it is to be.
        account: Who owns it.
        password_file: Holds the superuser's password.
        sync: Whether the files are on the disk when it is moved; else a loss of power may leave
            half of them, which is right only for data that nobody keeps.

    Raises:
        RuntimeError: It cannot be made.
    """
    if (data / "PG_VERSION").exists():
        return
    draft = data.with_name(f"{data.name}.draft")
    owner = account.ids if account else None
    secure_files.remove_tree(draft)
    secure_files.make_directory(draft, owner=owner)
    drop = ["setpriv", *account.prefix, "--"] if account else []
    initdb = [
        binary("initdb"),
        f"--pgdata={draft}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        *([] if sync else ["--no-sync"]),
    ]
    done = subprocess.run([*drop, *initdb], check=False, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
    secure_files.write(draft / "pg_hba.conf", _HBA, owner=owner, durable=sync)
    secure_files.move(draft, data, durable=sync)


def forget_dead_server(data: Path) -> None:
    """Remove the pid file of a server that was killed, when its number is a stranger's now.

    PostgreSQL itself removes it when nobody has that number. Call it only while no other stack
    can run over these data.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = secure_files.read(pid_file).partition(b"\n")[0].strip().decode(errors="replace")
    except FileNotFoundError:
        return
    command = Path("/proc", pid, "cmdline")
    if not pid.isdecimal() or not command.exists() or os.fsencode(data) not in command.read_bytes():
        secure_files.remove(pid_file)


def server(
    data: Path, port: int, account: Account | None, settings: Mapping[str, str] | None = None
) -> Program:
    """The server over a cluster, on loopback alone.

    Args:
        data: The cluster.
        port: Where it listens.
        account: Whom it runs as.
        settings: Server settings, stronger than ours.
    """
    chosen = {
        "listen_addresses": readiness.LOOPBACK,
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "log_min_messages": "warning",
        "log_checkpoints": "off",
        **(settings or {}),
    }
    flags = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
    return Program(
        "postgres",
        [binary("postgres"), "-D", str(data), *flags],
        account=account,
        cwd=Path("/"),
        stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients
        orphan_signal=signal.SIGINT,
        grace=20.0,
    )


def answers(port: int) -> bool:
    """Whether the server takes connections."""
    return readiness.postgres_answers(port, binary("pg_isready"))


def run_sql(port: int, password: str, sql: str, *, database: str = "postgres") -> str:
    """Run statements as the superuser.

    The password travels in the environment and the statements by standard input, because `ps`
    shows command lines to everyone.

    Raises:
        RuntimeError: A statement failed.
    """
    done = subprocess.run(
        [
            binary("psql"),
            *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only"),
            "--set=ON_ERROR_STOP=1",
            f"--host={readiness.LOOPBACK}",
            f"--port={port}",
            f"--username={SUPERUSER}",
            f"--dbname={database}",
        ],
        input=sql,
        env={**os.environ, "PGPASSWORD": password},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"psql failed: {done.stderr.strip()}")
    return done.stdout.strip()


def make_role(port: int, superuser_password: str, password: str) -> None:
    """Make the API's role, or give it its password again. It may not do what an API need not."""
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    sql = f"""
        SELECT 'CREATE ROLE {ROLE}' WHERE NOT EXISTS
            (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
        ALTER ROLE {ROLE} {rights} PASSWORD '{password}';
    """  # noqa: S608 - all of these words are ours
    run_sql(port, superuser_password, sql)


def make_database(port: int, superuser_password: str, name: str) -> None:
    """Make a database that the API's role owns, unless it is there."""
    sql = f"""
        SELECT 'CREATE DATABASE {name} OWNER {ROLE}' WHERE NOT EXISTS
            (SELECT FROM pg_database WHERE datname = '{name}') \\gexec
        REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
    """  # noqa: S608 - the name is ours
    run_sql(port, superuser_password, sql)
