"""Prometheus' configuration with our rules and a scrape job in it."""

from collections.abc import Mapping
from typing import Any

import yaml

from export.options import InvalidOptionError


def with_ours(config: str, job: Mapping[str, Any] | None, rules: str) -> dict[str, Any]:
    """Add rules and a job to a configuration; nothing else of it changes.

    What an earlier export added for the same job is replaced.

    Args:
        config: The text of ``prometheus.yml``.
        job: The scrape job, if any.
        rules: Absolute pattern of the rule files.

    Raises:
        InvalidOptionError: The configuration is none, or scrapes a job of that name already.
    """
    try:
        theirs = yaml.safe_load(config)
    except yaml.YAMLError as error:
        raise InvalidOptionError(f"Prometheus' configuration is no YAML: {error}") from error
    if not isinstance(theirs, dict):
        raise InvalidOptionError("Prometheus' configuration is no mapping: it is empty, or a list")
    rule_files = [each for each in theirs.get("rule_files") or () if each != rules]
    merged = {**theirs, "rule_files": [*rule_files, rules]}
    if job is None:
        return merged
    jobs = [
        each
        for each in theirs.get("scrape_configs") or ()
        if each.get("job_name") != job["job_name"]
    ]
    name = job["static_configs"][0]["labels"]["job"]
    if any(each.get("job_name") == name for each in jobs):
        raise InvalidOptionError(
            f"job {name} is in the configuration already: leave out --target, or remove it there"
        )
    return {**merged, "scrape_configs": [*jobs, dict(job)]}
