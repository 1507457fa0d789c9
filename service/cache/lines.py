"""Which line a URL means: to one Redis, to the master that Sentinels name, or to a cluster."""

from collections.abc import Callable
from typing import Any, Protocol

from service.cache.address import Address, Place
from service.cache.backend import Patience
from service.cache.batch import Values
from service.cache.cluster import Cluster
from service.cache.line import Line, Server
from service.cache.sentinel import Discovery
from service.cache.wire import Command


class Asks(Protocol):
    """Something that asks Redis. What it asks raises ``StoreUnavailableError``."""

    @property
    def is_down(self) -> bool:
        """Whether callers are turned away."""

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command."""

    async def send_all(self, *commands: Command, patience: Patience | None = None) -> list[Any]:
        """Send several commands at once and return their answers."""

    async def read(self, names: tuple[str, ...]) -> Values:
        """Read keys, together with others who read."""

    def origin(self, names: tuple[str, ...]) -> bytes:
        """What tells the runs of the servers that hold keys from all others."""

    @property
    def runs(self) -> dict[Server, bytes]:
        """The same of each server that is connected."""

    async def address(self) -> Address:
        """Where a subscriber hears all that is published."""

    async def close(self) -> None:
        """Disconnect."""


def connect(
    url: str,
    password: str | None,
    timeout: float,
    changed: Callable[[bool], None] = lambda _up: None,
) -> Asks:
    """Choose a line; nothing is connected before the first command.

    Args:
        url: See ``docs/caching.md``.
        password: Used when the URL has none.
        timeout: Seconds an answer may take.
        changed: Called with False when Redis is left alone and with True when it answers again.

    Raises:
        ValueError: The URL is of another kind.
    """
    place = Place.parse(url, password)
    if place.kind == "cluster":
        return Cluster(place.addresses, timeout, changed)
    if place.kind == "sentinel":
        return Line(Discovery(place.addresses, place.service, timeout), timeout, changed)
    return Line(Fixed(place.addresses[0]), timeout, changed)


class Fixed:
    """An address that is known."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def __call__(self) -> Address:
        """Tell it."""
        return self._address
