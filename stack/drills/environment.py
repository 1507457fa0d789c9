"""The drill environment: the running stack, faster monitoring, and services to break."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import yaml

from stack import monitoring_services, pair, readiness, secret_distribution
from stack.drills import server_targets
from stack.drills.fault import (
    API,
    PostgresTarget,
    RedisTarget,
    StoreTarget,
    Target,
    TargetService,
)
from stack.installation.paths import CHECKOUT, Installation
from stack.process.process import Process, Program
from stack.servers import postgres
from vitals import secure_files


class Environment:
    """The environment in which faults are injected.

    Args:
        here: The installation of the running stack.
        drill: The installation of the drills' own monitoring.
        client: HTTP client.
        started: Stops the processes started here.
    """

    def __init__(
        self,
        here: Installation,
        drill: Installation,
        client: httpx.AsyncClient,
        started: ExitStack,
    ) -> None:
        self.here = here
        self.drill = drill
        self.client = client
        self._started = started
        self._processes: dict[str, Process] = {}
        self._ports: dict[str, int] = {}

    def base(self, job: str) -> str:
        """Base URL of a service."""
        port = self.here.ports.api if job == API else self._ports[job]
        return f"http://{readiness.LOOPBACK}:{port}"

    @property
    def store(self) -> str:
        """URL of the store of traces and logs."""
        return f"http://{readiness.LOOPBACK}:{self.here.ports.store}"

    def port(self, name: str) -> int:
        """Port of a service or server that was deployed."""
        return self._ports[name]

    def take_port(self, name: str) -> int:
        """A free port, which is then its port."""
        return self._ports.setdefault(name, readiness.free_port())

    def pid(self, name: str) -> int:
        """Pid of a service or target; it is the leader of its process group."""
        process = self._processes.get(name)
        return process.pid if process else self.here.read_pids()[name]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a service or target with SIGSTOP: connections hang."""
        group = self.pid(name)
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Stop a process of the drills' monitoring: connections are refused."""
        process = self._processes[name]
        process.stop()
        try:
            yield
        finally:
            process.start()

    @contextmanager
    def half_killed(self) -> Iterator[bool]:
        """Kill one Prometheus and one Alertmanager of a pair, and start them again afterwards.

        Yields:
            Whether there is a pair.
        """
        # Of one half: the links of a message lead to the Prometheus beside its Alertmanager.
        killed = ("prometheus", "alertmanager") if self.drill.pair else ()
        names = [name + pair.SUFFIX for name in killed]
        for name in names:
            self._processes[name].kill()
        try:
            yield bool(names)
        finally:
            for name in names:
                self._processes[name].start()

    # -- Prometheus ------------------------------------------------------------------------------

    @contextmanager
    def rules(self, text: str) -> Iterator[None]:
        """Add a rule file to Prometheus."""
        file = self.drill.folder("prometheus") / "fast-rules" / "drill.yml"
        secure_files.write(file, text, owner=self.drill.owner_of("prometheus"))
        self._processes["prometheus"].send(signal.SIGHUP)
        try:
            yield
        finally:
            secure_files.remove(file)
            self._processes["prometheus"].send(signal.SIGHUP)

    def add_job(self, job: str, *targets: str) -> None:
        """Have Prometheus scrape targets as a job."""
        addresses = [f"{readiness.LOOPBACK}:{self._ports[target]}" for target in targets]
        file = self._targets_folder / f"{job}.yml"
        text = yaml.safe_dump([{"targets": addresses, "labels": {"job": job}}])
        secure_files.write(file, text, owner=self.drill.owner_of("prometheus"))

    def remove_job(self, job: str) -> None:
        """Remove a job from Prometheus."""
        secure_files.remove(self._targets_folder / f"{job}.yml")

    @property
    def _targets_folder(self) -> Path:
        return self.drill.folder("prometheus") / "targets"

    # -- Processes -------------------------------------------------------------------------------

    def start(self, program: Program) -> Process:
        """Start a process that ends with the environment; does not wait until it is ready."""
        process = Process(program, log=self.drill.data / f"{program.name}.log")
        self._started.callback(process.stop)
        process.start()
        self._processes[program.name] = process
        return process

    async def start_monitoring(self, *, fast: bool) -> None:
        """Start the Prometheus and Alertmanager of the drills."""
        site = self.here.data / monitoring_services.SITE
        secrets = monitoring_services.prometheus_secrets(self.here)
        monitoring = monitoring_services.monitoring(
            self.drill, secrets, fast=fast, site=site, targets=self._targets_folder
        )
        for service in monitoring:
            process = self.start(service.program)
            if service.ready:
                await asyncio.to_thread(process.wait_ready, service.ready)

    async def deploy(self, targets: Collection[Target]) -> None:
        """Start target services concurrently, and have Prometheus scrape them."""
        waiting = []
        for target in targets:
            port = self.take_port(target.job)
            if isinstance(target, RedisTarget | PostgresTarget):
                reader = await server_targets.deploy(self, target, port)
                process = self.start(reader)
            else:
                process = self.start(
                    self._store(target, port)
                    if isinstance(target, StoreTarget)
                    else self._program(target, port)
                )
            ready = partial(readiness.http_answers, port, target.ready_path)
            waiting.append(asyncio.to_thread(process.wait_ready, ready, 60))
        await asyncio.gather(*waiting)
        for target in targets:
            self.add_job(target.job, target.job)

    def _store(self, target: StoreTarget, port: int) -> Program:
        user = self.here.python_user
        folder = self.drill.data / target.job
        secure_files.make_directory(folder, owner=user.ids if user else None)
        bound = ["prlimit", f"--fsize={target.file_bytes}", "--"] if target.file_bytes else []
        listen = f"--listen={readiness.LOOPBACK}:{port}"
        command = ["-m", "stack.store", listen, f"--data={folder}", *target.options]
        return Program(target.job, [*bound, sys.executable, *command], user=user, cwd=CHECKOUT)

    def _program(self, target: TargetService, port: int) -> Program:
        names = ["database-password"]
        secrets = secret_distribution.provide(
            self.here, "drill-targets", names, self.here.python_user
        )
        return Program(
            target.job,
            [
                *(sys.executable, "-m", "stack.drills.defective_service"),
                *(f"--port={port}", f"--pool={target.pool}", f"--workers={target.workers}"),
            ],
            user=self.here.python_user,
            env={
                "DEFECTIVE_DATABASE_URL": f"postgresql+asyncpg://{postgres.ROLE}@"
                f"{readiness.LOOPBACK}:{self.here.ports.postgres}/{postgres.DATABASE}",
                "DEFECTIVE_PASSWORD_FILE": str(secrets / "database-password"),
                "DEFECTIVE_NAME": target.job,
                "OTEL_EXPORTER_OTLP_ENDPOINT": self.store,
            },
            cwd=CHECKOUT,
        )


@asynccontextmanager
async def prepare(
    here: Installation, targets: Collection[Target], *, fast: bool = True
) -> AsyncIterator[Environment]:
    """Start separate monitoring of the running API, without history.

    Args:
        here: The installation of the running stack.
        targets: Services to deploy.
        fast: With faster rules, else those of production.
    """
    folder = here.data / "drill"
    secure_files.remove_tree(folder)
    secure_files.make_directory(folder, mode=0o755)
    ports = replace(
        here.ports,
        prometheus=readiness.free_port(),
        alertmanager=readiness.free_port(),
        prometheus_2=0,
        alertmanager_2=0,
    )
    drill = replace(here, data=folder, ports=ports)
    with ExitStack() as started:
        started.callback(secure_files.remove_tree, folder)
        # A server may close an idle connection just as a request is sent: keep none alive.
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=10, trust_env=False, limits=once) as client:
            environment = Environment(here, drill, client, started)
            await environment.start_monitoring(fast=fast)
            await environment.deploy(targets)
            yield environment
