"""Alertmanager's routes and inhibition, as a part of a configuration, or merged into one."""

from typing import Any

import yaml

from alerts.alert import Severity
from alerts.alertmanager import HEARTBEAT, NORMAL_TIMINGS, NULL_RECEIVER, configuration
from alerts.receivers import ReceiverSettings
from alerts.rule_files import every_alert
from export.options import InvalidOptionError, Options


def part(options: Options, page: str, ticket: str) -> dict[str, Any]:
    """The routes of our alerts and what inhibits what.

    Args:
        options: Of the export.
        page: The receiver of pages.
        ticket: The receiver of tickets.
    """
    ours = configuration(ReceiverSettings(), "", NORMAL_TIMINGS, options.identity)
    tree = ours["route"]
    names = sorted({alert.name for alert in every_alert(options.engine)} - options.without)
    receivers = {
        str(Severity.PAGE): page,
        str(Severity.TICKET): ticket,
        # The heartbeat is for a service that expects one; without it, it is not sent.
        HEARTBEAT: f"vitals-{HEARTBEAT}",
        NULL_RECEIVER: f"vitals-{NULL_RECEIVER}",
    }
    route = {
        "matchers": [f'alertname=~"{"|".join(names)}"'],
        **{name: value for name, value in tree.items() if name != "routes"},
        "receiver": ticket,
        "routes": [
            # Other receivers of ours differ in when they tell of an end: theirs decide that.
            {**each, "receiver": receivers.get(each["receiver"], ticket)}
            for each in tree["routes"]
            if not _is_left_out(each, options)
        ],
    }
    kept = {*names}
    return {
        "route": {"routes": [route]},
        "inhibit_rules": [rule for rule in ours["inhibit_rules"] if _names(rule) <= kept],
        "receivers": [{"name": receivers[HEARTBEAT]}, {"name": receivers[NULL_RECEIVER]}],
    }


def merged(config: str, ours: dict[str, Any], page: str, ticket: str) -> dict[str, Any]:
    """Merge the part into a configuration: our routes come first, nothing of it changes.

    Args:
        config: The text of ``alertmanager.yml``.
        ours: The part.
        page: The receiver of pages, which the configuration must have.
        ticket: That of tickets.

    Raises:
        InvalidOptionError: The configuration is none, or lacks a receiver.
    """
    try:
        theirs = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise InvalidOptionError(f"Alertmanager's configuration is no YAML: {error}") from error
    if not isinstance(theirs, dict) or "route" not in theirs:
        raise InvalidOptionError("Alertmanager's configuration has no route")
    known = [each["name"] for each in theirs.get("receivers") or ()]
    if missing := sorted({page, ticket} - {*known}):
        raise InvalidOptionError(
            f"no receiver {', '.join(missing)} in the configuration, which has {', '.join(known)}: "
            "choose by --page and --ticket"
        )
    added = {each["name"] for each in ours["receivers"]}
    before = [each for each in theirs["route"].get("routes") or () if not _is_ours(each, ours)]
    inhibited = [
        rule for rule in theirs.get("inhibit_rules") or () if rule not in ours["inhibit_rules"]
    ]
    kept = [each for each in theirs["receivers"] if each["name"] not in added]
    return {
        **theirs,
        "route": {**theirs["route"], "routes": [*ours["route"]["routes"], *before]},
        "inhibit_rules": [*inhibited, *ours["inhibit_rules"]],
        "receivers": [*kept, *ours["receivers"]],
    }


def _is_ours(route: dict[str, Any], ours: dict[str, Any]) -> bool:
    """Whether an earlier export added it."""
    [first] = ours["route"]["routes"]
    return {each.get("receiver") for each in route.get("routes") or ()} >= {
        each["receiver"] for each in first["routes"]
    }


def _is_left_out(route: dict[str, Any], options: Options) -> bool:
    return any(route["matchers"] == [f'alertname="{name}"'] for name in options.without)


def _names(rule: dict[str, Any]) -> set[str]:
    matchers = [*rule["source_matchers"], *rule["target_matchers"]]
    return {each.partition("=")[2].strip('"') for each in matchers if each.startswith("alertname=")}
