"""All settings of the watch: environment variables with a default, a meaning and a check.

``python -m stack settings`` prints them with their values; every start checks them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from stack.door.settings import DEFAULT_USER, TLS, DoorSettings
from stack.installation.ports import Ports
from stack.installation.public_url import PublicUrlError

_AGE = re.compile(r"[1-9]\d*[hdwy]")
_SIZE = re.compile(r"[1-9]\d*[MGT]B")


class SettingError(ValueError):
    """A setting is wrong; the message names it and says what to write."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: The environment variable.
        default: Its value when it is not set; empty for none.
        meaning: What it is, in a few words.
        check: Raises an error for a wrong value.
    """

    name: str
    default: str
    meaning: str
    check: Callable[[str], None] = lambda _text: None

    def of(self, environment: Mapping[str, str]) -> str:
        """Its value."""
        return environment.get(self.name) or self.default


def _like(pattern: re.Pattern[str], example: str, name: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            raise SettingError(f"{name}={text}: write it as {example}")

    return check


def _age(name: str, default: str, meaning: str) -> Setting:
    return Setting(name, default, meaning, _like(_AGE, "12h, 7d or 1y", name))


def _size(name: str, default: str, meaning: str) -> Setting:
    return Setting(name, default, meaning, _like(_SIZE, "500MB or 2GB", name))


PROMETHEUS_KEEP = _age("PROMETHEUS_KEEP", "31d", "age of removed metrics; rules read 30 days back")
PROMETHEUS_LIMIT = _size("PROMETHEUS_LIMIT", "10GB", "size of metrics on disk")
STORE_KEEP = _age("STORE_KEEP", "7d", "age of removed traces, log lines and profiles")
STORE_LIMIT = _size("STORE_LIMIT", "2GB", "their size on disk")
SETTINGS: tuple[Setting, ...] = (
    PROMETHEUS_KEEP,
    PROMETHEUS_LIMIT,
    STORE_KEEP,
    STORE_LIMIT,
    *(
        Setting(
            f"{port.name.upper()}_PORT",
            str(port.default) if port.default else "",
            f"port of {port.name.replace('_', ' ')} on loopback"
            + ("" if port.default else "; a free one by default"),
        )
        for port in fields(Ports)
    ),
    Setting("VITALS_DATA", "var", "folder of all data"),
    Setting("WORKERS", "1", "processes of the API"),
    Setting("HA", "0", "1 for two Prometheus and two Alertmanagers"),
    Setting("FAIL_FAST", "0", "1 to end all at the first end of a service"),
    Setting("TRACE_URL", "", "where traces are shown instead, with {trace} in it"),
    Setting("PUBLIC_URL", "", "what people on the network open; none: no door"),
    Setting("PUBLIC_LISTEN", "", "ADDRESS:PORT of the door; by default that of PUBLIC_URL"),
    Setting("PUBLIC_TLS", "", f"{', '.join(TLS)}; by default by the name"),
    Setting("PUBLIC_TLS_CERT_FILE", "", "certificate of the door"),
    Setting("PUBLIC_TLS_KEY_FILE", "", "its key"),
    Setting("PUBLIC_ACME_URL", "", "directory of another authority than Let's Encrypt"),
    Setting("PUBLIC_ACME_EMAIL", "", "address for the authority's warnings"),
    Setting("PUBLIC_ACME_ROOT_FILE", "", "root certificate of that authority"),
    Setting("PUBLIC_USER", DEFAULT_USER, "name of the generated login"),
    Setting("PUBLIC_USERS_FILE", "", "a file of htpasswd -B in its place"),
    Setting("PUBLIC_OAUTH2_PROXY", "", "HOST:PORT of an oauth2-proxy in its place"),
)
"""All but the receivers, which `alerts.receivers` declares (``ALERT_*``)."""


def check(environment: Mapping[str, str]) -> None:
    """Check all settings, before anything starts.

    Raises:
        SettingError: Some are wrong; the message has a line for each.
    """
    wrong: list[str] = []
    for setting in SETTINGS:
        try:
            if text := environment.get(setting.name):
                setting.check(text)
        except SettingError as error:
            wrong.append(str(error))
    for read in (Ports.of, DoorSettings.read):
        try:
            read(environment)
        except (ValueError, RuntimeError, PublicUrlError) as error:
            wrong.append(str(error))
    if wrong:
        raise SettingError("\n".join(wrong))


def rows(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each."""
    return [(each.name, each.of(environment) or "-", each.meaning) for each in SETTINGS]
