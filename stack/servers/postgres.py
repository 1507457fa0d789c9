"""PostgreSQL: the cluster on disk, the server, its roles and databases."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack import readiness
from stack.installation.service_user import ServiceUser
from stack.process.process import Program
from vitals import secure_files

SUPERUSER = "postgres"
DATABASE = "vitals"
ROLE = "vitals"
"""The API's role: owns its databases, not a superuser."""

MONITOR = "vitals_monitor"
"""The reader's role: it sees what the server says of itself, and no tables."""

_HBA = """\
# Password authentication from this machine only.
host all all 127.0.0.1/32 scram-sha-256
"""
_DEBIAN = Path("/usr/lib/postgresql")
_STATES_BYTES = 256 << 10
"""Size of a file of states of transactions."""


def binary(name: str) -> str:
    """Path of a PostgreSQL program: the newest of Debian's, else the one on PATH.

    Raises:
        FileNotFoundError: It is not installed.
    """
    versions = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} of PostgreSQL not found: run python -m stack install")
    return found


def make_cluster(
    data: Path, user: ServiceUser | None, password_file: Path, *, sync: bool = True
) -> None:
    """Create the files of a cluster, unless they exist.

    The cluster is created in a temporary folder and moved into place when complete, so that an
    interrupted first start leaves no partial cluster.

    Args:
        data: The data directory.
        user: Owner of the files.
        password_file: File with the superuser's password.
        sync: Whether to flush the files to disk before the move; without it a power loss may leave
            some of them, which is acceptable only for throw-away data.

    Raises:
        RuntimeError: initdb failed.
    """
    if (data / "PG_VERSION").exists():
        return
    partial = data.with_name(f"{data.name}.draft")
    owner = user.ids if user else None
    secure_files.remove_tree(partial)
    secure_files.make_directory(partial, owner=owner)
    run_tool(
        user,
        "initdb",
        f"--pgdata={partial}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        *([] if sync else ["--no-sync"]),
    )
    secure_files.write(partial / "pg_hba.conf", _HBA, owner=owner, durable=sync)
    secure_files.move(partial, data, durable=sync)


def make_standby(data: Path, user: ServiceUser | None, primary: int, password: str) -> None:
    """Copy a running primary; a server of the copy is its standby.

    Args:
        data: The data directory of the copy.
        user: Owner of the files.
        primary: Port of the primary, whose `pg_hba.conf` lets the superuser replicate.
        password: Of the superuser.

    Raises:
        RuntimeError: The copy failed.
    """
    secure_files.make_directory(data, owner=user.ids if user else None)
    where = (f"--host={readiness.LOOPBACK}", f"--port={primary}", f"--username={SUPERUSER}")
    options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    run_tool(user, "pg_basebackup", f"--pgdata={data}", *where, *options, password=password)


def advance_transactions(data: Path, user: ServiceUser | None, xid: int) -> None:
    """Let the next transaction of a stopped server be a later one, as after years of use.

    Args:
        data: The data directory.
        user: Owner of the files.
        xid: The next transaction: the first of a file of their states, a multiple of 2^20.

    Raises:
        RuntimeError: It failed.
    """
    states = data / "pg_xact" / f"{xid >> 20:04X}"
    secure_files.write(states, bytes(_STATES_BYTES), owner=user.ids if user else None)
    run_tool(user, "pg_resetwal", f"--pgdata={data}", f"--next-transaction-id={xid}")


def run_tool(user: ServiceUser | None, name: str, *arguments: str, password: str = "") -> None:
    """Run a program of PostgreSQL as the service user.

    Raises:
        RuntimeError: It failed.
    """
    drop = ["setpriv", *user.setpriv_options, "--"] if user else []
    done = subprocess.run(
        [*drop, binary(name), *arguments],
        env={**os.environ, "PGPASSWORD": password},
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip() or done.stdout.strip()}")


def remove_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a killed server if its pid belongs to another process now.

    PostgreSQL itself removes the file if no process has that pid. Call this only while no other
    stack can run in this data folder.
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
    data: Path, port: int, user: ServiceUser | None, settings: Mapping[str, str] | None = None
) -> Program:
    """The server of a cluster, listening on loopback only.

    Args:
        data: The data directory.
        port: Port to listen on.
        user: Service user.
        settings: Server settings that override the defaults here.
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
        user=user,
        cwd=Path("/"),
        stop_signal=signal.SIGINT,  # fast shutdown: does not wait for clients
        parent_death_signal=signal.SIGINT,
        grace=20.0,
    )


def statement_settings() -> dict[str, str]:
    """Settings by which the server counts statements, where it has the extension."""
    library = Path(binary("postgres")).resolve().parents[1] / "lib" / "pg_stat_statements.so"
    if not library.exists():
        return {}
    return {
        "shared_preload_libraries": "pg_stat_statements",
        # Otherwise it keeps and shows the passwords of ALTER ROLE.
        "pg_stat_statements.track_utility": "off",
    }


def answers(port: int) -> bool:
    """Whether the server accepts connections."""
    return readiness.postgres_answers(port, binary("pg_isready"))


def run_sql(port: int, password: str, sql: str, *, database: str = "postgres") -> str:
    """Run statements as the superuser.

    The password is passed in the environment and the statements on standard input, because `ps`
    shows command lines to every user.

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
    """Create the API's role, or reset its password and attributes, with least privileges.

    It may see the statements and states of other roles' sessions, to say who blocks whom.
    """
    attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    sql = f"""
        SELECT 'CREATE ROLE {ROLE}' WHERE NOT EXISTS
            (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \\gexec
        ALTER ROLE {ROLE} {attributes} PASSWORD '{password}';
        GRANT pg_read_all_stats TO {ROLE};
    """  # noqa: S608 - constants, and a generated password
    run_sql(port, superuser_password, sql)


def make_monitor(port: int, superuser_password: str, password: str, database: str) -> None:
    """Create the reader's role, or reset its password and attributes; it may read statistics."""
    attributes = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
    sql = f"""
        SELECT 'CREATE ROLE {MONITOR}' WHERE NOT EXISTS
            (SELECT FROM pg_roles WHERE rolname = '{MONITOR}') \\gexec
        ALTER ROLE {MONITOR} {attributes} PASSWORD '{password}';
        GRANT pg_monitor TO {MONITOR};
        GRANT CONNECT ON DATABASE {database} TO {MONITOR};
    """  # noqa: S608 - constants, and a generated password
    run_sql(port, superuser_password, sql)


def make_database(port: int, superuser_password: str, name: str) -> None:
    """Create a database owned by the API's role, unless it exists."""
    sql = f"""
        SELECT 'CREATE DATABASE {name} OWNER {ROLE}' WHERE NOT EXISTS
            (SELECT FROM pg_database WHERE datname = '{name}') \\gexec
        REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
    """  # noqa: S608 - the name is a constant
    run_sql(port, superuser_password, sql)


def make_extensions(port: int, superuser_password: str, name: str) -> None:
    """Create the extensions of a database that the server has.

    HypoPG is for `vitals advise`, pg_stat_statements for the reader.
    """
    sql = """
        SELECT 'CREATE EXTENSION IF NOT EXISTS ' || name FROM pg_available_extensions
        WHERE name IN ('hypopg', 'pg_stat_statements') \\gexec
    """
    run_sql(port, superuser_password, sql, database=name)
