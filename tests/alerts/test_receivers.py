"""Receiver settings read from the environment, and their errors."""

from pathlib import Path

import pytest

from alerts.receivers import Email, InvalidReceiverSettingsError, ReceiverSettings


def test_an_empty_environment_has_no_receivers() -> None:
    settings = ReceiverSettings.read({"PATH": "/bin", "ALERT_WEBHOOK_URL": ""})
    assert settings == ReceiverSettings()
    assert not settings.has_receivers


def test_a_heartbeat_alone_is_no_receiver() -> None:
    heartbeat = ReceiverSettings.read({"ALERT_HEARTBEAT_URL": "https://beat.example/x"})
    assert not heartbeat.has_receivers


@pytest.mark.parametrize("login", [True, False])
def test_mail(tmp_path: Path, *, login: bool) -> None:
    variables = {
        "ALERT_EMAIL_TO": "oncall@example.com",
        "ALERT_EMAIL_FROM": "watch@example.com",
        "ALERT_SMTP_HOST": "mail.example.com:587",
    }
    password = tmp_path / "password"
    password.write_text("made-up")
    if login:
        variables |= {"ALERT_SMTP_USER": "watch", "ALERT_SMTP_PASSWORD_FILE": str(password)}
    assert ReceiverSettings.read(variables).email == Email(
        "oncall@example.com",
        "watch@example.com",
        "mail.example.com:587",
        "watch" if login else "",
        str(password) if login else "",
    )


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ALERT_SLACK_URL": "https://x.example"}, "ALERT_SLACK_URL: unknown; the variables are"),
        ({"ALERT_WEBHOOK_URL": "hooks.example/x"}, "ALERT_WEBHOOK_URL: must be an address"),
        ({"ALERT_WEBHOOK_URL": "ftp://hooks.example/x"}, "ALERT_WEBHOOK_URL: must be an address"),
        ({"ALERT_BOARD_URL": "http://x/{{ .Evil }}"}, "ALERT_BOARD_URL: must be an address"),
        ({"ALERT_SLACK_URL_FILE": "/nowhere"}, "ALERT_SLACK_URL_FILE: cannot read /nowhere"),
        ({"ALERT_SLACK_URL_FILE": "/"}, "ALERT_SLACK_URL_FILE: cannot read /: Is a directory"),
        ({"ALERT_PAGERDUTY_KEY_FILE": "{empty}"}, "is empty; write the secret into it"),
        ({"ALERT_PAGERDUTY_KEY_FILE": "{binary}"}, "not text"),
        (
            {"ALERT_WEBHOOK_URL": "http://x.example", "ALERT_WEBHOOK_URL_FILE": "{empty}"},
            "both set",
        ),
        ({"ALERT_EMAIL_TO": "a@b.example"}, "also needs ALERT_EMAIL_FROM, ALERT_SMTP_HOST"),
        (
            {
                "ALERT_EMAIL_TO": "a@b.example",
                "ALERT_EMAIL_FROM": "c@d.example",
                "ALERT_SMTP_HOST": "mail.example.com",
            },
            "name the port too",
        ),
        (
            {
                "ALERT_EMAIL_TO": "a@b.example",
                "ALERT_EMAIL_FROM": "c@d.example",
                "ALERT_SMTP_HOST": "mail.example.com:587",
                "ALERT_SMTP_USER": "watch",
            },
            "also needs ALERT_SMTP_PASSWORD_FILE",
        ),
    ],
)
def test_an_error_names_the_variable(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    paths = {f"{{{name}}}": str(tmp_path / name) for name in ("empty", "binary")}
    given = {name: paths.get(value, value) for name, value in variables.items()}
    with pytest.raises(InvalidReceiverSettingsError, match=message.replace("{{", r"\{\{")):
        ReceiverSettings.read(given)


def test_an_error_does_not_show_the_secret_address() -> None:
    with pytest.raises(InvalidReceiverSettingsError) as caught:
        ReceiverSettings.read({"ALERT_WEBHOOK_URL": "hooks.example/s3cret"})
    assert "s3cret" not in str(caught.value)
