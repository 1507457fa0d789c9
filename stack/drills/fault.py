"""What a drill breaks, and where it does so."""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.drills.environment import Ground

API = "api"
"""The job of the stack's own API."""
ALONE = "alone"
"""The lane of faults that disturb all others."""
Inject = Callable[["Ground"], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Patient:
    """A service that drills deploy beside the API, to be broken.

    Attributes:
        job: Its name to Prometheus.
        pool: Its connections to the database.
        workers: Its processes.
    """

    job: str
    pool: int = 5
    workers: int = 1


@dataclass(frozen=True)
class Load:
    """What is asked while a fault lasts, and before and after it.

    Attributes:
        during: Makes the paths to ask for, without end.
        around: The same for before and after; the same paths if it is left out.
        job: Whom to ask: the API or a patient.
        rate: Requests a second.
    """

    during: Callable[[], Iterator[str]]
    around: Callable[[], Iterator[str]] | None = None
    job: str = API
    rate: float = 40


@dataclass(frozen=True)
class Fault:
    """What breaks, and what must come of it.

    Attributes:
        what: Told to the person.
        inject: Breaks it until cancelled, and then puts everything back.
        job: The job that the alert names; empty if it names none.
        load: What is asked meanwhile.
        lane: Faults of one lane follow one another; those of different lanes do not disturb each
            other. ``ALONE`` disturbs all.
        patients: What must be deployed for it.
        labels: What else tells the alert from others of its name.
        holds_back: Alerts of the same job that must be seen held back meanwhile.
        told: Whether it can be told while it lasts. If not, it is mended once Prometheus fires.
        linked: Whether the message with the links gets through.
        seconds: What the alert needs to fire and to end beyond its rule's patience.
        baseline: Scrapes before the fault, so that what grows is seen to grow.
    """

    what: str
    inject: Inject
    job: str = API
    load: Load | None = None
    lane: str = ""
    patients: tuple[Patient, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    holds_back: frozenset[str] = frozenset()
    told: bool = True
    linked: bool = True
    seconds: float = 90.0
    baseline: int = 3
