"""Declarations of a drill: the fault, its target service and its load."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stack.drills.proofs import Proof

if TYPE_CHECKING:
    from stack.drills.environment import Environment

API = "api"
"""The job of the stack's own API."""
POSTGRES = "postgres"
"""The job of the stack's own PostgreSQL."""
EXCLUSIVE = "exclusive"
"""The lane of faults that disturb all other drills."""
Inject = Callable[["Environment"], Coroutine[None, None, None]]


@dataclass(frozen=True)
class TargetService:
    """A defective service that drills deploy beside the API.

    It sends traces and logs to the stack's store.

    Attributes:
        job: Its Prometheus job, and the name of the service in traces and logs.
        pool: Size of its connection pool.
        workers: Number of worker processes.
    """

    job: str
    pool: int = 5
    workers: int = 1
    ready_path = "/work"


@dataclass(frozen=True)
class StoreTarget:
    """A store of traces and logs that drills deploy beside the stack's own.

    Attributes:
        job: Its Prometheus job.
        options: Of its command line.
        file_bytes: The size beyond which the kernel refuses to write its files, as a full disk
            does; 0 for none.
    """

    job: str
    options: tuple[str, ...] = ()
    file_bytes: int = 0
    ready_path = "/ready"


@dataclass(frozen=True)
class RedisTarget:
    """A Redis with its reader that drills deploy beside the stack's own.

    Attributes:
        job: Prometheus job of the reader; the server is `server`, its replica `second`.
        memory: Its `maxmemory`.
        lines: Further lines of its configuration.
        replica: Whether it has a replica.
    """

    job: str
    memory: str = "16mb"
    lines: tuple[str, ...] = ()
    replica: bool = False
    ready_path = "/"

    @property
    def server(self) -> str:
        """Name of the server's process."""
        return f"{self.job}-server"

    @property
    def second(self) -> str:
        """Name of the process of its replica."""
        return f"{self.job}-second"


@dataclass(frozen=True)
class PostgresTarget:
    """A PostgreSQL with its reader that drills deploy beside the stack's own.

    Attributes:
        job: Prometheus job of the reader; the server is `server`, its standby `second`.
        standby: Whether it has a standby.
    """

    job: str
    standby: bool = False
    ready_path = "/"

    @property
    def server(self) -> str:
        """Name of the server's process."""
        return f"{self.job}-server"

    @property
    def second(self) -> str:
        """Name of the process of its standby."""
        return f"{self.job}-second"


ServerTarget = RedisTarget | PostgresTarget
Target = TargetService | StoreTarget | ServerTarget


@dataclass(frozen=True)
class Load:
    """The HTTP load during a fault, and before and after it.

    Attributes:
        during: Returns an endless iterator of the paths to request during the fault.
        normal: The same for before and after; defaults to the same paths.
        job: Job that receives the load: the API or a target.
        rate: Requests per second.
    """

    during: Callable[[], Iterator[str]]
    normal: Callable[[], Iterator[str]] | None = None
    job: str = API
    rate: float = 40


@dataclass(frozen=True)
class Fault:
    """A fault, and the expected alert behaviour.

    Attributes:
        description: Shown in the output and in docs/alerts.md.
        inject: Causes the fault until cancelled, then reverts it.
        job: The job label of the alert; empty if it has none.
        load: HTTP load during the drill.
        lane: Faults of one lane run one after another; those of different lanes do not disturb each
            other. ``EXCLUSIVE`` faults disturb all others.
        targets: Services that must be deployed for it.
        labels: Further labels that identify the alert.
        inhibits: Alerts of the same job that must be inhibited during the fault.
        notifies_during_fault: Whether a notification can be delivered during the fault. If not, the
            fault ends once Prometheus fires.
        has_links: Whether the message with the links is delivered.
        proof: What the example trace that the message links to must show; None for an alert
            without one.
        says: A regular expression of what the message must say of the cause; empty for none.
        notifies_end: Whether the end of the alert is notified; if not, Prometheus's end counts.
        seconds: Time to fire and to resolve beyond the rule's ``for`` and ``keep_firing_for``.
        baseline: Number of scrapes needed before the fault.
    """

    description: str
    inject: Inject
    job: str = API
    load: Load | None = None
    lane: str = ""
    targets: tuple[Target, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    inhibits: frozenset[str] = frozenset()
    notifies_during_fault: bool = True
    has_links: bool = True
    proof: Proof | None = None
    says: str = ""
    notifies_end: bool = True
    seconds: float = 90.0
    baseline: int = 3
