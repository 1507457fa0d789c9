"""Services of others that the stack watches, without an API and databases of its own."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from rules.watched import SCRAPE_SETTINGS
from stack.installation.paths import Installation
from stack.servers.redis import check_url

OWN_JOBS = (
    *("alertmanager", "issues", "postgres", "prometheus", "redis", "runner", "services", "store"),
)
"""Jobs of the stack itself."""
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")
_DOCKER = "unix:///var/run/docker.sock"
_DOCKER_LABEL = "vitals.job"
_SETTINGS = ("targets", "token_file", "files", "dns", "docker", "scheme", "path")


class WatchSettingsError(ValueError):
    """Settings of a watched service are wrong; the message says what to write."""


@dataclass(frozen=True)
class WatchedService:
    """A service with the kit.

    Attributes:
        job: Its name on boards and in alerts.
        targets: Addresses of its instances: ``HOST:PORT``.
        token_file: File with the bearer token of its ``/metrics``.
        files: Files of further targets, in the format of Prometheus' ``file_sd_configs``.
        dns: Names with a port whose addresses (A records) are its instances: ``NAME:PORT``.
        docker: Port of its containers, which have the label ``vitals.job``; 0 for none.
        scheme: ``http`` or ``https``.
        path: Of its metrics.

    Raises:
        WatchSettingsError: A setting is wrong, or it has no targets.
    """

    job: str
    targets: tuple[str, ...] = ()
    token_file: Path | None = None
    files: tuple[Path, ...] = ()
    dns: tuple[str, ...] = ()
    docker: int = 0
    scheme: str = "http"
    path: str = "/metrics"

    def __post_init__(self) -> None:
        if not self.job or self.job in OWN_JOBS:
            raise WatchSettingsError(
                f"job {self.job!r}: choose a name for the service, other than {', '.join(OWN_JOBS)}"
            )
        if not (self.targets or self.files or self.dns or self.docker):
            raise WatchSettingsError(
                f"job {self.job}: name its targets (HOST:PORT), files, dns (NAME:PORT) or docker"
            )
        for address in (*self.targets, *self.dns):
            if not _ADDRESS.fullmatch(address):
                raise WatchSettingsError(f"job {self.job}: {address!r} is no HOST:PORT")
        if self.scheme not in {"http", "https"}:
            raise WatchSettingsError(f"job {self.job}: scheme {self.scheme!r} is not http or https")
        if not self.path.startswith("/"):
            raise WatchSettingsError(f"job {self.job}: path {self.path!r} must start with a slash")
        for file in (*self.files, *([self.token_file] if self.token_file else ())):
            if not file.is_file():
                raise WatchSettingsError(f"job {self.job}: there is no file {file}")

    @classmethod
    def of(cls, job: str, settings: Mapping[str, Any]) -> Self:
        """Read the settings of one job of a file.

        Raises:
            WatchSettingsError: A setting is unknown or wrong.
        """
        if unknown := sorted({*settings} - {*_SETTINGS}):
            raise WatchSettingsError(
                f"job {job}: no setting {', '.join(unknown)}; there are {', '.join(_SETTINGS)}"
            )
        token = settings.get("token_file")
        return cls(
            job,
            targets=_texts(settings.get("targets", ())),
            token_file=Path(token) if token else None,
            files=tuple(map(Path, _texts(settings.get("files", ())))),
            dns=_texts(settings.get("dns", ())),
            docker=int(settings.get("docker", 0)),
            scheme=str(settings.get("scheme", "http")),
            path=str(settings.get("path", "/metrics")),
        )

    def scrape_job(self, here: Installation) -> dict[str, Any]:
        """Write its entry of ``scrape_configs``; the token is copied for Prometheus alone."""
        job: dict[str, Any] = {
            "job_name": self.job,
            "scheme": self.scheme,
            "metrics_path": self.path,
            **SCRAPE_SETTINGS,
        }
        if self.token_file:
            token = self.token_file.read_text("utf-8").strip()
            name = re.sub(r"[^A-Za-z0-9]", "-", self.job)
            copy = here.write("prometheus", f"token-{name}", token)
            job["authorization"] = {"credentials_file": str(copy)}
        if self.targets:
            job["static_configs"] = [{"targets": [*self.targets]}]
        if self.files:
            job["file_sd_configs"] = [{"files": [str(file.absolute()) for file in self.files]}]
        if self.dns:
            job["dns_sd_configs"] = [
                {"names": [name], "type": "A", "port": int(port)}
                for name, _, port in (each.rpartition(":") for each in self.dns)
            ]
        if self.docker:
            wanted = {"name": "label", "values": [f"{_DOCKER_LABEL}={self.job}"]}
            job["docker_sd_configs"] = [{"host": _DOCKER, "port": self.docker, "filters": [wanted]}]
        return job


@dataclass(frozen=True)
class WatchedRedis:
    """A Redis behind the services.

    Attributes:
        url: ``redis://USER@HOST:PORT``.
        password_file: File with the password of that user.

    Raises:
        WatchSettingsError: The address is none of Redis, or the password file is missing.
    """

    url: str
    password_file: Path | None = None

    def __post_init__(self) -> None:
        try:
            check_url(self.url)
        except ValueError as error:
            raise WatchSettingsError(f"--redis: {error}") from error
        if self.password_file and not self.password_file.is_file():
            raise WatchSettingsError(f"--redis-password-file: no file {self.password_file}")


def read(file: Path) -> list[WatchedService]:
    """Read a file of watched services: a mapping from jobs to their settings, in YAML.

    Raises:
        WatchSettingsError: It is none.
        OSError: It cannot be read.
    """
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise WatchSettingsError(f"{file} is no YAML: {error}") from error
    jobs = content if isinstance(content, dict) else {}
    if not jobs or not all(isinstance(settings, dict) for settings in jobs.values()):
        raise WatchSettingsError(f"{file}: write `shop: {{targets: [HOST:PORT]}}` for each job")
    return [WatchedService.of(str(job), settings) for job, settings in jobs.items()]


def _texts(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))
