"""Passes messages on to services that Alertmanager does not know itself, by Apprise.

Alertmanager writes the message for Slack, from the same templates as all others; Apprise turns its
title and text into what Teams, Google Chat, ntfy or another of its hundred services takes. An
address of Apprise holds the service's secret: https://github.com/caronc/apprise/wiki lists them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from stack.inbox.messages import slack_messages_of
from stack.inbox.text_rendering import without_markup


class InvalidAddressError(ValueError):
    """An address is none that Apprise knows, or Apprise is not installed."""


class UndeliveredError(RuntimeError):
    """A service did not take a message."""


class Relay:
    """The services of a list of addresses.

    Args:
        addresses: Addresses of Apprise, such as ``ntfys://ntfy.example.com/alerts``.

    Raises:
        InvalidAddressError: The message says which line, not the address: that is a secret.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        try:
            import apprise  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise InvalidAddressError("Apprise is not installed: pip install apprise") from error
        self._apprise = apprise.Apprise()
        self._kinds = {"danger": apprise.NotifyType.FAILURE, "good": apprise.NotifyType.SUCCESS}
        self._usual = apprise.NotifyType.WARNING
        for number, address in enumerate(addresses, start=1):
            if not self._apprise.add(address):
                raise InvalidAddressError(f"address {number} is none that Apprise knows")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the addresses of a file, one a line; empty lines and comments are skipped.

        Raises:
            InvalidAddressError: One is unknown, or there is none.
        """
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        addresses = [line for line in lines if line and not line.startswith("#")]
        if not addresses:
            raise InvalidAddressError(f"{file} has no address: write one a line")
        return cls(addresses)

    def send(self, message: dict[str, Any]) -> None:
        """Pass on a message that is written for Slack.

        Raises:
            UndeliveredError: A service did not take it; the others may have.
        """
        for each in slack_messages_of(message):
            kind = self._kinds.get(each.colour, self._usual)
            if not self._apprise.notify(
                body=without_markup(each.text), title=without_markup(each.title), notify_type=kind
            ):
                raise UndeliveredError("a service of Apprise did not take the message")
