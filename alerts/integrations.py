"""Integrations of Alertmanager: what each service gets, by the same templates.

Only fields that Alertmanager 0.25 and later share. Services that 0.25 does not know (Teams, Google
Chat, ntfy) get their messages by a relay, which takes what is written for Slack.
"""

from typing import Any

from alerts.alert import Severity
from alerts.receivers import Email, ReceiverSettings

TITLE = '{{ template "vitals.title" . }}'
TEXT = '{{ template "vitals.text" . }}'
SLACK_TITLE = '{{ template "vitals.slack_title" . }}'
SLACK_TEXT = '{{ template "vitals.slack_text" . }}'
COLOUR = '{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}'
"""Slack's; not the same by default in every version."""
MAX_ALERTS = 100
"""Of one notification of a webhook, which says how many more there are: the alerts of thousands of
instances would be megabytes, which receivers refuse."""
Config = dict[str, Any]


def integrations(settings: ReceiverSettings, severity: Severity, *, ends: bool = True) -> Config:
    """Build the integrations of the receiver of a severity.

    Args:
        settings: The receivers.
        severity: The severity.
        ends: Whether they are notified of the ends of alerts too.
    """
    is_page = severity is Severity.PAGE
    chats = [
        *([{"api_url_file": settings.slack_file}] if settings.slack_file else []),
        *([{"api_url": settings.relay}] if settings.relay else []),
    ]
    built: dict[str, list[Config]] = {
        "webhook_configs": [
            *([{"url": settings.webhook, "max_alerts": MAX_ALERTS}] if settings.webhook else []),
            *({"url": url} for url in settings.notified),
        ],
        "slack_configs": [
            {**chat, "color": COLOUR, "title": SLACK_TITLE, "text": SLACK_TEXT} for chat in chats
        ],
        "discord_configs": _discord(settings),
        "email_configs": [_mail(settings.email)] if settings.email else [],
        "pagerduty_configs": _pagerduty(settings) if is_page else [],
        "opsgenie_configs": _opsgenie(settings, "P1" if is_page else "P3"),
    }
    return {
        kind: [{"send_resolved": ends, **config} for config in configs]
        for kind, configs in built.items()
        if configs
    }


def _discord(settings: ReceiverSettings) -> list[Config]:
    if not settings.discord:
        return []
    return [{"webhook_url": settings.discord, "title": TITLE, "message": TEXT}]


def _pagerduty(settings: ReceiverSettings) -> list[Config]:
    if not settings.pagerduty_file:
        return []
    return [
        {
            "routing_key_file": settings.pagerduty_file,
            **({"url": settings.pagerduty_url} if settings.pagerduty_url else {}),
            "severity": "critical",
            "description": TITLE,
            # The text has the alerts; Alertmanager would list them again, with all their labels.
            "details": {"text": TEXT, "firing": "", "resolved": ""},
        }
    ]


def _opsgenie(settings: ReceiverSettings, priority: str) -> list[Config]:
    if not settings.opsgenie_file:
        return []
    return [
        {
            "api_key_file": settings.opsgenie_file,
            **({"api_url": settings.opsgenie_url} if settings.opsgenie_url else {}),
            "priority": priority,
            "message": TITLE,
            "description": TEXT,
            "source": "Vitals",
        }
    ]


def _mail(email: Email) -> Config:
    login = {"auth_username": email.user, "auth_password_file": email.password_file}
    return {
        "to": email.to,
        "from": email.sender,
        "smarthost": email.server,
        **({} if email.tls else {"require_tls": False}),
        "headers": {"Subject": TITLE},
        "text": TEXT,
        "html": "",
        **(login if email.user else {}),
    }
