"""The rules that the outcome of a promtool test depends on: the rest only costs its replay time.

A test depends on the alerts and series that it names, on what their queries read, and on what the
annotations of those alerts read. Names are looked for as words, so that rather too much is kept.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Rule = Mapping[str, Any]
_WORD = re.compile(r"[A-Za-z_:][\w:]*")
_ALERT_SERIES = re.compile(r"\bALERTS(?:_FOR_STATE)?\b(?:\{[^}]*\})?")
_NAMED = re.compile(r"alertname=~?(?P<quote>'{1,2}|\\?\")(?P<names>[\w|]+)(?P=quote)")


def needed(rules: Sequence[Rule], test: Mapping[str, Any]) -> list[Rule]:
    """The rules of all that are loaded that the test's outcome depends on, in order."""
    names = {_name(rule) for rule in rules}
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    alerted = {each["alertname"] for each in test.get("alert_rule_test", ())}
    texts = [each["expr"] for each in test.get("promql_expr_test", ())]
    for rule in rules:
        if rule.get("alert") in alerted:
            texts += rule.get("annotations", {}).values()
    found = alerted & names
    pending = found | _read(texts, names, alerts)
    while pending:
        found |= pending
        queries = [rule["expr"] for rule in rules if _name(rule) in pending]
        pending = _read(queries, names, alerts) - found
    return [rule for rule in rules if _name(rule) in found]


def _name(rule: Rule) -> str:
    return str(rule.get("record") or rule["alert"])


def _read(texts: Iterable[str], names: set[str], alerts: set[str]) -> set[str]:
    """Names of rules whose result the texts read: recorded series, and states of alerts."""
    read = set[str]()
    for text in texts:
        read |= {word for word in _WORD.findall(text) if word in names - alerts}
        for selector in _ALERT_SERIES.findall(text):
            named = _NAMED.search(selector)
            read |= {*named["names"].split("|")} & alerts if named else alerts
    return read


def split(case: Path, folder: Path) -> list[Path]:
    """Write each test of a promtool file into one of its own, with the rules that it needs.

    Args:
        case: The file of tests; its rule files are relative to it.
        folder: Where the files are written.

    Returns:
        The files of tests, for one run of promtool.
    """
    whole = yaml.load(case.read_text(), yaml.CBaseLoader)  # noqa: S506 - `0x40` is no number to promtool
    for test in filter(None, whole["tests"]):
        for expected in test.get("promql_expr_test", ()):
            for sample in expected.get("exp_samples", ()):
                sample["value"] = float(sample["value"])
    files = [file for pattern in whole["rule_files"] for file in sorted(case.parent.glob(pattern))]
    groups = [
        group for file in files for group in yaml.load(file.read_text(), yaml.CSafeLoader)["groups"]
    ]
    rules = [rule for group in groups for rule in group["rules"]]
    written = []
    for number, test in enumerate(filter(None, whole["tests"])):
        kept = needed(rules, test)
        left = [
            {**group, "rules": chosen}
            for group in groups
            if (chosen := [rule for rule in group["rules"] if rule in kept])
        ]
        present = {group["name"] for group in left}
        name = f"{case.stem}-{number}"
        (folder / f"{name}.rules").write_text(yaml.dump({"groups": left}, Dumper=yaml.CSafeDumper))
        part = {
            **whole,
            "rule_files": [f"{name}.rules"],
            "group_eval_order": [each for each in whole["group_eval_order"] if each in present],
            "tests": [test],
        }
        file = folder / f"{name}.yml"
        file.write_text(yaml.dump(part, Dumper=yaml.CSafeDumper, sort_keys=False))
        written.append(file)
    return written
