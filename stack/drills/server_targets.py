"""Servers that drills deploy with their readers: a Redis or PostgreSQL, alone or with a second."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stack import readiness
from stack.drills.fault import PostgresTarget, RedisTarget, ServerTarget
from stack.installation import secrets
from stack.installation.paths import CHECKOUT
from stack.process.process import Program
from stack.servers import postgres, redis
from vitals import secure_files

if TYPE_CHECKING:
    from stack.drills.environment import Environment

_REPLICATION = "host replication all 127.0.0.1/32 scram-sha-256\n"
_POSTGRES_SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_prepared_transactions": "4",
}


async def deploy(environment: "Environment", target: ServerTarget, port: int) -> Program:
    """Start the servers of a target.

    Args:
        environment: Where they run.
        target: The target.
        port: Of the reader.

    Returns:
        The reader, which is not started yet.
    """
    if isinstance(target, RedisTarget):
        url = await _deploy_redis(environment, target)
        name, arguments = "stack.redis_reader", [f"--url={url}"]
    else:
        url, password = await _deploy_postgres(environment, target)
        name, arguments = "stack.postgres_reader", [f"--url={url}", f"--password-file={password}"]
    return Program(
        target.job,
        [sys.executable, "-m", name, f"--port={port}", *arguments],
        user=environment.here.python_user,
        env={"PYTHONUNBUFFERED": "1"},
        cwd=CHECKOUT,
    )


def folder(environment: "Environment", name: str, server: str) -> Path:
    """The folder of a server's files, owned by its user."""
    path = environment.drill.data / name
    secure_files.make_directory(path, owner=environment.drill.owner_of(server))
    return path


async def _deploy_redis(environment: "Environment", target: RedisTarget) -> str:
    of_second = (f"replicaof {readiness.LOOPBACK} {environment.take_port(target.server)}",)
    servers = [(target.server, target.lines)]
    servers += [(target.second, of_second)] if target.replica else []
    for name, lines in servers:
        port, path = environment.take_port(name), folder(environment, name, "redis")
        text = redis.configuration(port, path, memory=target.memory)
        config, owner = path / "redis.conf", environment.drill.owner_of("redis")
        secure_files.write(config, "\n".join((text, *lines, "")), owner=owner)
        program = redis.server(config, environment.drill.user_of("redis"))
        await _start(environment, name, program, partial(readiness.redis_answers, port))
    return f"redis://{readiness.LOOPBACK}:{environment.port(target.server)}"


async def _deploy_postgres(environment: "Environment", target: PostgresTarget) -> tuple[str, Path]:
    here, user = environment.here, environment.drill.user
    superuser = secrets.read(here.secrets, "postgres-password")
    data, port = environment.drill.data / target.server, environment.take_port(target.server)
    password = folder(environment, f"{target.job}-password", "postgres") / "password"
    secure_files.write(password, superuser, owner=environment.drill.owner_of("postgres"))
    await asyncio.to_thread(postgres.make_cluster, data, user, password, sync=False)
    hba = secure_files.read(data / "pg_hba.conf").decode() + _REPLICATION
    secure_files.write(data / "pg_hba.conf", hba, owner=environment.drill.owner_of("postgres"))
    ready = partial(postgres.answers, port)
    program = postgres.server(data, port, user, _POSTGRES_SETTINGS)
    await _start(environment, target.server, program, ready)
    monitor = secrets.read(here.secrets, "monitor-password")
    await asyncio.to_thread(postgres.make_monitor, port, superuser, monitor, postgres.SUPERUSER)
    if target.standby:
        copy, second = environment.drill.data / target.second, environment.take_port(target.second)
        await asyncio.to_thread(postgres.make_standby, copy, user, port, superuser)
        program = postgres.server(copy, second, user, _POSTGRES_SETTINGS)
        await _start(environment, target.second, program, partial(postgres.answers, second))
    readable = environment.drill.data / f"{target.job}-monitor"
    owner = here.python_user.ids if here.python_user else None
    secure_files.make_directory(readable, owner=owner)
    secure_files.write(readable / "password", monitor, owner=owner)
    where = f"{readiness.LOOPBACK}:{port}/{postgres.SUPERUSER}"
    return f"postgresql://{postgres.MONITOR}@{where}", readable / "password"


async def _start(
    environment: "Environment", name: str, program: Program, ready: Callable[[], bool]
) -> None:
    process = environment.start(replace(program, name=name))
    await asyncio.to_thread(process.wait_ready, ready, 60)
