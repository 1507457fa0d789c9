"""Rule groups as data, with the options of an export applied."""

from collections.abc import Iterator
from typing import Any

import yaml

from alerts.rule_files import render
from export.options import Options

Group = dict[str, Any]


def rule_groups(options: Options) -> dict[str, list[Group]]:
    """The groups of rules by file name without its suffix; none is empty."""
    files = {
        name.removesuffix(".yml"): [*_groups(yaml.load(text, yaml.CSafeLoader)["groups"], options)]
        for name, text in render(identity=options.identity, engine=options.engine).items()
    }
    return {name: groups for name, groups in files.items() if groups}


def _groups(groups: list[Group], options: Options) -> Iterator[Group]:
    for group in groups:
        rules = [
            _changed(rule, options)
            for rule in group["rules"]
            if rule.get("alert") not in options.without
        ]
        if rules:
            yield {**group, "rules": rules}


def _changed(rule: dict[str, Any], options: Options) -> dict[str, Any]:
    if "alert" not in rule:
        return rule
    changes = dict(options.changes.get(rule["alert"], {}))
    severity = changes.pop("severity", rule["labels"]["severity"])
    annotations = dict(rule["annotations"])
    if options.runbooks:
        # The name that other tools look for.
        annotations["runbook_url"] = f"{options.runbooks.rstrip('/')}/{annotations['runbook']}"
    if options.boards:
        chosen = "&".join(
            f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in options.identity.labels
        )
        board = annotations["board"]
        annotations["dashboard_url"] = f"{options.boards.rstrip('/')}/d/{board}?{chosen}"
    labels = {**rule["labels"], **options.labels, "severity": severity}
    return {**rule, **changes, "labels": labels, "annotations": annotations}
