"""The ground that drills stand on: the running stack, a fast watch and services to break."""

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

from stack import readiness, secret_distribution, services
from stack.drills.fault import API, Patient
from stack.installation.paths import CHECKOUT, Installation
from stack.process.process import Process, Program
from stack.servers import postgres
from vitals import secure_files


class Ground:
    """Where faults are injected.

    Args:
        here: The installation, whose stack runs.
        aside: The same with the watch that the drills look at.
        client: Asks over HTTP.
        started: Stops what is started here.
    """

    def __init__(
        self,
        here: Installation,
        aside: Installation,
        client: httpx.AsyncClient,
        started: ExitStack,
    ) -> None:
        self.here = here
        self.aside = aside
        self.client = client
        self._started = started
        self._processes: dict[str, Process] = {}
        self._ports: dict[str, int] = {}

    def base(self, job: str) -> str:
        """Where a service is asked."""
        port = self.here.ports.api if job == API else self._ports[job]
        return f"http://{readiness.LOOPBACK}:{port}"

    def pid(self, name: str) -> int:
        """The process of a part or a patient; it leads its process group."""
        process = self._processes.get(name)
        return process.pid if process else self.here.read_pids()[name]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freeze a part or a patient: connections hang, nothing is answered."""
        group = self.pid(name)
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """End a part of our own watch: connections are refused."""
        process = self._processes[name]
        process.stop()
        try:
            yield
        finally:
            process.start()

    # -- Prometheus ------------------------------------------------------------------------------

    @contextmanager
    def rules(self, text: str) -> Iterator[None]:
        """Have Prometheus read one more file of rules."""
        file = self.aside.folder("prometheus") / "hasty-rules" / "drill.yml"
        secure_files.write(file, text, owner=self.aside.owner_of("prometheus"))
        self._processes["prometheus"].send(signal.SIGHUP)
        try:
            yield
        finally:
            secure_files.remove(file)
            self._processes["prometheus"].send(signal.SIGHUP)

    def announce(self, job: str, *patients: str) -> None:
        """Have Prometheus watch patients under the name of a job."""
        targets = [f"{readiness.LOOPBACK}:{self._ports[patient]}" for patient in patients]
        file = self._targets / f"{job}.yml"
        text = yaml.safe_dump([{"targets": targets, "labels": {"job": job}}])
        secure_files.write(file, text, owner=self.aside.owner_of("prometheus"))

    def retract(self, job: str) -> None:
        """Have Prometheus watch a job no longer."""
        secure_files.remove(self._targets / f"{job}.yml")

    @property
    def _targets(self) -> Path:
        return self.aside.folder("prometheus") / "targets"

    # -- Processes -------------------------------------------------------------------------------

    def start(self, program: Program) -> Process:
        """Start a process that ends with us; it is ready later."""
        process = Process(program, log=self.aside.data / f"{program.name}.log")
        self._started.callback(process.stop)
        process.start()
        self._processes[program.name] = process
        return process

    async def start_watch(self) -> None:
        """Start the Prometheus and Alertmanager that are looked at."""
        site = self.here.data / services.SITE
        secrets = services.watching_secrets(self.here)
        for part in services.watching(self.aside, secrets, haste=True, site=site):
            process = self.start(part.program)
            await asyncio.to_thread(process.wait_ready, part.ready)

    async def deploy(self, patients: Collection[Patient]) -> None:
        """Start services to break, all at once, and have them watched."""
        waiting = []
        for patient in patients:
            port = self._ports[patient.job] = readiness.free_port()
            process = self.start(self._program(patient, port))
            ready = partial(readiness.http_answers, port, "/work")
            waiting.append(asyncio.to_thread(process.wait_ready, ready, 60))
        await asyncio.gather(*waiting)
        for patient in patients:
            self.announce(patient.job, patient.job)

    def _program(self, patient: Patient, port: int) -> Program:
        names = ["database-password"]
        secrets = secret_distribution.hand_over(self.here, "patients", names, self.here.worker)
        return Program(
            patient.job,
            [
                *(sys.executable, "-m", "stack.drills.defective"),
                *(f"--port={port}", f"--pool={patient.pool}", f"--workers={patient.workers}"),
            ],
            account=self.here.worker,
            env={
                "DEFECTIVE_DATABASE_URL": f"postgresql+asyncpg://{postgres.ROLE}@"
                f"{readiness.LOOPBACK}:{self.here.ports.postgres}/{postgres.DATABASE}",
                "DEFECTIVE_PASSWORD_FILE": str(secrets / "database-password"),
            },
            cwd=CHECKOUT,
        )


@asynccontextmanager
async def prepared(here: Installation, patients: Collection[Patient]) -> AsyncIterator[Ground]:
    """A watch of our own over the running API, with rules many times faster and no past."""
    folder = here.data / "drill"
    secure_files.remove_tree(folder)
    secure_files.make_directory(folder, mode=0o755)
    ports = replace(
        here.ports, prometheus=readiness.free_port(), alertmanager=readiness.free_port()
    )
    aside = replace(here, data=folder, ports=ports)
    with ExitStack() as started:
        started.callback(secure_files.remove_tree, folder)
        # Servers end connections that idle, perhaps as the next request is on its way: keep none.
        once = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=10, trust_env=False, limits=once) as client:
            ground = Ground(here, aside, client, started)
            await ground.start_watch()
            await ground.deploy(patients)
            yield ground
