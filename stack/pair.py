"""A pair: two Prometheus and two Alertmanagers that do the same, so that any one may be killed.

Both Prometheus scrape all targets, evaluate all rules and send each alert to both Alertmanagers,
which tell each other what they have notified of. The label `replica`, in which the two Prometheus
differ, is dropped from alerts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from secrets import token_urlsafe

from rules.pair import cluster_flags
from stack import readiness
from stack.installation.paths import Installation

FOLDER = "second"
"""The folder in the data folder with what the second half of a pair writes."""
SUFFIX = "-2"
"""Of the names of its services."""


@dataclass(frozen=True)
class Half:
    """One Prometheus, and one Alertmanager behind its gate.

    Attributes:
        here: The installation, with its ports and its folder.
        suffix: Of the names of its services.
        replica: Its value of the label ``replica``; empty without a pair.
        alertmanager: Port of Alertmanager itself, which only the gate uses.
        cluster: Port at which its Alertmanager hears of the other one; 0 without a pair.
        prefix: Path of Alertmanager. Only the gate knows it, so a web page that finds the port
            cannot send requests to it.
    """

    here: Installation
    suffix: str
    replica: str
    alertmanager: int
    cluster: int
    prefix: str

    @property
    def upstream(self) -> str:
        """URL of Alertmanager, behind the gate."""
        return f"http://{readiness.LOOPBACK}:{self.alertmanager}/{self.prefix}"

    def alertmanager_flags(
        self, halves: "Sequence[Half]", *, fast: bool = False
    ) -> tuple[str, ...]:
        """Options of Alertmanager: who it shares its notifications with; sooner for a drill."""
        if not self.cluster:
            return ()
        own = f"{readiness.LOOPBACK}:{self.cluster}"
        peers = [f"{readiness.LOOPBACK}:{each.cluster}" for each in halves if each is not self]
        sooner = ("--cluster.settle-timeout=2s", "--cluster.peer-timeout=3s") if fast else ()
        return (*cluster_flags(own, peers, advertise=own), *sooner)


def halves(here: Installation) -> list[Half]:
    """The two halves of a pair, or the only one."""
    if not here.pair:
        return [_half(here, "", "")]
    ports = replace(
        here.ports,
        prometheus=here.ports.prometheus_2 or readiness.free_port(),
        alertmanager=here.ports.alertmanager_2 or readiness.free_port(),
    )
    second = replace(here, data=here.data / FOLDER, ports=ports)
    return [_half(here, "", "a"), _half(second, SUFFIX, "b")]


def _half(here: Installation, suffix: str, replica: str) -> Half:
    return Half(
        here,
        suffix,
        replica,
        alertmanager=readiness.free_port(),
        cluster=readiness.free_port() if replica else 0,
        prefix=token_urlsafe(16),
    )
