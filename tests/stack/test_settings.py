"""All settings of the watch: declared once, checked at start, documented."""

import re

import pytest

from stack import settings
from stack.door.settings import VARIABLES
from stack.installation.paths import CHECKOUT


def test_all_wrong_settings_are_said_at_once() -> None:
    with pytest.raises(settings.SettingError) as error:
        settings.check(
            {
                "PROMETHEUS_KEEP": "forever",
                "STORE_LIMIT": "2",
                "API_PORT": "x",
                "PUBLIC_URL": "http://watch.example.com",
            }
        )
    lines = str(error.value).splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "PROMETHEUS_KEEP",
        "STORE_LIMIT",
        "API_PORT",
        "PUBLIC_URL",
    ]
    assert "write it as 12h, 7d or 1y" in lines[0]


def test_the_defaults_are_right() -> None:
    settings.check(
        {each.name: each.default for each in settings.SETTINGS if each.name != "PUBLIC_USER"}
    )


def test_each_is_declared_once_with_those_of_the_door() -> None:
    names = [each.name for each in settings.SETTINGS]
    assert len({*names}) == len(names)
    assert {*VARIABLES} <= {*names}
    assert dict(zip(names, names, strict=True)).keys() == {row[0] for row in settings.rows({})}


def test_those_of_the_door_and_of_retention_are_documented() -> None:
    text = (CHECKOUT / "docs" / "door.md").read_text("utf-8")
    documented = {*re.findall(r"`((?:PUBLIC|STORE|PROMETHEUS)_[A-Z_0-9]+)`", text)}
    assert {*VARIABLES} | {"PROMETHEUS_KEEP", "PROMETHEUS_LIMIT", "STORE_KEEP"} <= documented
    assert documented <= {each.name for each in settings.SETTINGS}
