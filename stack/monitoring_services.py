"""Prometheus, Alertmanager and the gate as services; of a pair, both of each."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stack import monitoring_config, pair, readiness, secret_distribution, settings
from stack.installation.paths import Installation
from stack.pair import Half
from stack.process.service import Service
from stack.python_programs import flag, page_origins, python_program
from stack.servers import prometheus
from stack.watched_services import WatchedService

SITE = "site"
"""The folder in the data folder that Prometheus serves at /user/."""


def monitoring(
    here: Installation,
    secrets: Path,
    *,
    fast: bool = False,
    site: Path | None = None,
    targets: Path | None = None,
    mail_port: int | None = None,
    watched: Sequence[WatchedService] = (),
) -> list[Service]:
    """Prometheus, and Alertmanager behind the gate; of a pair, both of each.

    Args:
        here: The installation.
        secrets: Folder of the secrets that Prometheus sends to its targets; see
            `prometheus_secrets`.
        fast: Run the rules many times faster, as for a drill.
        site: The folder of the boards, if it is not among the data.
        targets: The folder of the files of targets, if it is not the project's.
        mail_port: Port of the inbox's mail server, if it has one.
        watched: Services that are watched in place of the API.
    """
    halves = pair.halves(here)
    return [
        _named(service, half.suffix)
        for half in halves
        for service in (
            _alertmanager(half, halves, fast=fast, mail_port=mail_port),
            _gate(half, halves),
            _prometheus(
                half,
                halves,
                secrets,
                fast=fast,
                site=site or here.data / SITE,
                targets=targets,
                watched=watched,
            ),
        )
    ]


def _named(service: Service, suffix: str) -> Service:
    """The same service of another half of a pair."""
    return replace(
        service,
        program=replace(service.program, name=service.name + suffix),
        depends_on=tuple(name + suffix for name in service.depends_on),
    )


def _alertmanager(
    half: Half, halves: Sequence[Half], *, fast: bool, mail_port: int | None
) -> Service:
    config = monitoring_config.write_alertmanager(
        half.here,
        fast=fast,
        mail_port=mail_port,
        gates=[each.here.ports.alertmanager for each in halves],
    )
    return Service(
        prometheus.alertmanager(
            config,
            half.here.folder("alertmanager"),
            half.alertmanager,
            half.here.user_of("alertmanager"),
            half.alertmanager_flags(halves, fast=fast),
            gate=half.here.ports.alertmanager,
            prefix=half.prefix,
            public=half.here.public.origin if half.here.public else "",
        ),
        ready=lambda: readiness.http_answers(half.alertmanager, f"/{half.prefix}/-/ready"),
        port=half.alertmanager,
    )


def _gate(half: Half, halves: Sequence[Half]) -> Service:
    here, ports = half.here, half.here.ports
    # Its own Alertmanager first; the other one answers while that is away.
    upstreams = sorted(halves, key=lambda each: each is not half)
    arguments = [
        "stack.inbox.gate",
        *flag("port", str(ports.alertmanager)),
        *(word for each in upstreams for word in flag("upstream", each.upstream)),
        # They read whether an alert is silenced, and silence it.
        *(word for each in halves for word in page_origins(each.here)),
        *flag("home", f"{monitoring_config.viewer_url(here)}/silences/"),
        *flag("prometheus", f"http://{readiness.LOOPBACK}:{ports.prometheus}"),
    ]
    return Service(
        python_program(here, "gate", arguments),
        ready=lambda: prometheus.answers(ports.alertmanager),
        port=ports.alertmanager,
        depends_on=("alertmanager",),
    )


def _prometheus(
    half: Half,
    halves: Sequence[Half],
    secrets: Path,
    *,
    fast: bool,
    site: Path,
    targets: Path | None,
    watched: Sequence[WatchedService],
) -> Service:
    here, ports = half.here, half.here.ports
    config = monitoring_config.write_prometheus(
        here,
        secrets,
        fast=fast,
        targets=targets,
        watched=watched,
        pair=[each.here.ports for each in halves],
        replica=half.replica,
    )
    # Prometheus resends firing alerts every minute, which is too slow for drills.
    fast_flags = ("--rules.alert.resend-delay=2s",)
    return Service(
        prometheus.server(
            config,
            here.folder("prometheus"),
            ports.prometheus,
            here.user_of("prometheus"),
            (
                f"--storage.tsdb.retention.time={settings.PROMETHEUS_KEEP.of(os.environ)}",
                f"--storage.tsdb.retention.size={settings.PROMETHEUS_LIMIT.of(os.environ)}",
                f"--web.user-assets={site}",
                *(fast_flags if fast else ()),
            ),
            public=here.public.origin if here.public else "",
        ),
        ready=lambda: prometheus.answers(ports.prometheus),
        port=ports.prometheus,
        on_ready=lambda: prometheus.preallocate_query_log(here.data / "prometheus"),
    )


def prometheus_secrets(here: Installation) -> Path:
    """The folder of the secrets that Prometheus sends to its targets."""
    user = here.user_of("prometheus")
    return secret_distribution.provide(
        here, "prometheus", secret_distribution.SECRETS["prometheus"], user
    )
