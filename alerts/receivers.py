"""Receivers of notifications, read from environment variables ``ALERT_*``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

VARIABLES = (
    "ALERT_WEBHOOK_URL",
    "ALERT_WEBHOOK_URL_FILE",
    "ALERT_HEARTBEAT_URL",
    "ALERT_HEARTBEAT_URL_FILE",
    "ALERT_SLACK_URL_FILE",
    "ALERT_DISCORD_URL",
    "ALERT_DISCORD_URL_FILE",
    "ALERT_RELAY_URL",
    "ALERT_RELAY_URL_FILE",
    "ALERT_PAGERDUTY_KEY_FILE",
    "ALERT_PAGERDUTY_URL",
    "ALERT_OPSGENIE_KEY_FILE",
    "ALERT_OPSGENIE_URL",
    "ALERT_EMAIL_TO",
    "ALERT_EMAIL_FROM",
    "ALERT_SMTP_HOST",
    "ALERT_SMTP_USER",
    "ALERT_SMTP_PASSWORD_FILE",
    "ALERT_SMTP_TLS",
    "ALERT_BOARD_URL",
    "ALERT_VIEWER_URL",
    "ALERT_RUNBOOK_URL",
    "ALERT_SILENCE_URL",
    "ALERT_NOTIFIED_URL",
)
"""All variables that are read."""


class InvalidReceiverSettingsError(ValueError):
    """A variable is missing, misspelled or names an unreadable file."""


@dataclass(frozen=True)
class Email:
    """Mail by an SMTP server.

    Attributes:
        tls: Whether the server must speak TLS.
    """

    to: str
    sender: str
    server: str
    user: str
    password_file: str
    tls: bool = True


@dataclass(frozen=True)
class ReceiverSettings:
    """Settings of the receivers; empty ones are not used. Secrets stay in their files.

    Only webhook URLs are held in memory: Alertmanager 0.25 cannot read those from files.

    Attributes:
        relay: A webhook that takes Slack's messages and passes them on, such as that of the inbox.
        pagerduty_url: Of PagerDuty's events, if not its default: EU accounts have another.
        opsgenie_url: Of Opsgenie's API, likewise.
        notified: Of the gates, which get what was notified and mark ends of what was not.
        viewer: Of the viewer, whose pages show traces, issues and logs.
    """

    webhook: str = ""
    heartbeat: str = ""
    slack_file: str = ""
    discord: str = ""
    relay: str = ""
    pagerduty_file: str = ""
    pagerduty_url: str = ""
    opsgenie_file: str = ""
    opsgenie_url: str = ""
    email: Email | None = None
    boards: str = ""
    viewer: str = ""
    runbooks: str = ""
    silences: str = ""
    notified: tuple[str, ...] = ()

    @property
    def has_receivers(self) -> bool:
        """Whether a receiver besides the heartbeat is configured."""
        chats = self.webhook or self.slack_file or self.discord or self.relay
        return bool(chats or self.pagerduty_file or self.opsgenie_file or self.email)

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Self:
        """Read the variables that begin with ``ALERT_``.

        Raises:
            InvalidReceiverSettingsError: The message names the variable and what to do.
        """
        given = {name: value for name, value in variables.items() if name.startswith("ALERT_")}
        if "ALERT_APPRISE_URLS_FILE" in given:
            raise InvalidReceiverSettingsError(
                "ALERT_APPRISE_URLS_FILE: only the native stack passes messages on by itself; "
                "elsewhere run python -m stack.inbox.server --apprise FILE and set ALERT_RELAY_URL "
                "to its address with /apprise behind it"
            )
        if unknown := sorted({*given} - {*VARIABLES}):
            raise InvalidReceiverSettingsError(
                f"{', '.join(unknown)}: unknown; the variables are {', '.join(VARIABLES)}"
            )
        return cls(
            webhook=_url(given, "ALERT_WEBHOOK_URL"),
            heartbeat=_url(given, "ALERT_HEARTBEAT_URL"),
            slack_file=_file(given, "ALERT_SLACK_URL_FILE"),
            discord=_url(given, "ALERT_DISCORD_URL"),
            relay=_url(given, "ALERT_RELAY_URL"),
            pagerduty_file=_file(given, "ALERT_PAGERDUTY_KEY_FILE"),
            pagerduty_url=_of(given, "ALERT_PAGERDUTY_URL", "ALERT_PAGERDUTY_KEY_FILE"),
            opsgenie_file=_file(given, "ALERT_OPSGENIE_KEY_FILE"),
            opsgenie_url=_of(given, "ALERT_OPSGENIE_URL", "ALERT_OPSGENIE_KEY_FILE"),
            email=_email(given),
            boards=_address(given.get("ALERT_BOARD_URL", ""), "ALERT_BOARD_URL").rstrip("/"),
            viewer=_address(given.get("ALERT_VIEWER_URL", ""), "ALERT_VIEWER_URL").rstrip("/"),
            runbooks=_address(given.get("ALERT_RUNBOOK_URL", ""), "ALERT_RUNBOOK_URL").rstrip("/"),
            notified=tuple(
                _address(url, "ALERT_NOTIFIED_URL")
                for url in given.get("ALERT_NOTIFIED_URL", "").split()
            ),
            silences=_address(given.get("ALERT_SILENCE_URL", ""), "ALERT_SILENCE_URL"),
        )


def _url(given: Mapping[str, str], name: str) -> str:
    in_file = f"{name}_FILE"
    if given.get(name) and given.get(in_file):
        raise InvalidReceiverSettingsError(f"{name} and {in_file} are both set; set one of them")
    if path := _file(given, in_file):
        return _address(Path(path).read_text(encoding="utf-8").strip(), in_file)
    return _address(given.get(name, ""), name)


def _of(given: Mapping[str, str], name: str, key: str) -> str:
    """The address of a service, which is of no use without its key."""
    if given.get(name) and not given.get(key):
        raise InvalidReceiverSettingsError(f"{name} also needs {key}")
    return _address(given.get(name, ""), name)


def _address(url: str, name: str) -> str:
    # The address is not shown: that of a webhook is a secret.
    parts = urlsplit(url)
    if url and (parts.scheme not in {"http", "https"} or not parts.netloc or "{{" in url):
        raise InvalidReceiverSettingsError(f"{name}: must be an address such as https://host/path")
    return url


def _file(given: Mapping[str, str], name: str) -> str:
    path = given.get(name, "")
    if not path:
        return ""
    try:
        if Path(path).read_text(encoding="utf-8").strip():
            return str(Path(path).resolve())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise InvalidReceiverSettingsError(f"{name}: cannot read {path}: {reason}") from None
    raise InvalidReceiverSettingsError(f"{name}: {path} is empty; write the secret into it")


def _email(given: Mapping[str, str]) -> Email | None:
    needed = ("ALERT_EMAIL_TO", "ALERT_EMAIL_FROM", "ALERT_SMTP_HOST")
    login = ("ALERT_SMTP_USER", "ALERT_SMTP_PASSWORD_FILE")
    tls = given.get("ALERT_SMTP_TLS") or "required"
    if tls not in {"required", "none"}:
        raise InvalidReceiverSettingsError("ALERT_SMTP_TLS: must be required or none")
    if not any(given.get(name) for name in (*needed, *login)):
        return None
    missing = [name for name in needed if not given.get(name)]
    if any(given.get(name) for name in login):
        missing += [name for name in login if not given.get(name)]
    if missing:
        raise InvalidReceiverSettingsError(f"mail also needs {', '.join(missing)}")
    server = given["ALERT_SMTP_HOST"]
    if not server.rpartition(":")[2].isdigit():
        raise InvalidReceiverSettingsError(
            "ALERT_SMTP_HOST: name the port too: mail.example.com:587"
        )
    return Email(
        to=given["ALERT_EMAIL_TO"],
        sender=given["ALERT_EMAIL_FROM"],
        server=server,
        user=given.get("ALERT_SMTP_USER", ""),
        password_file=_file(given, "ALERT_SMTP_PASSWORD_FILE"),
        tls=tls == "required",
    )
