"""Files for a Prometheus and an Alertmanager that are there already."""

from typing import Any

from export.alertmanager import merged, part
from export.files import as_yaml, guide
from export.options import Options, ScrapedService
from export.prometheus_config import with_ours
from export.rule_groups import rule_groups
from export.unread import drop
from rules.watched import SCRAPE_SETTINGS

_EXAMPLE = ScrapedService("shop", ("127.0.0.1:8000",), "/etc/prometheus/vitals-token")
_RULES = "rules/vitals-*.yml"


def scrape_config(options: Options) -> dict[str, Any]:
    """A job with a service of the kit."""
    labels = {label: f"NAME_OF_{label.upper()}" for label in options.identity.further}
    relabeling = SCRAPE_SETTINGS["metric_relabel_configs"]
    dropping = {"metric_relabel_configs": [*relabeling, drop()]} if options.drop_unread else {}
    service = options.service or _EXAMPLE
    token = {"authorization": {"credentials_file": service.token_file}}
    return {
        "job_name": f"vitals-{options.service.job}" if options.service else "vitals-services",
        **(token if service.token_file else {}),
        "static_configs": [
            {"targets": [*service.targets], "labels": {"job": service.job, **labels}}
        ],
        **SCRAPE_SETTINGS,
        **dropping,
    }


def files(
    options: Options,
    page: str,
    ticket: str,
    *,
    alertmanager: str = "",
    prometheus: str | None = None,
    folder: str = "",
) -> dict[str, str]:
    """Contents by file name.

    Args:
        options: Of the export.
        page: The receiver of pages.
        ticket: The receiver of tickets.
        alertmanager: A configuration to merge our routes into.
        prometheus: A configuration to merge our rules and the scrape job into.
        folder: Where the files are written, for that configuration.
    """
    ours = part(options, page, ticket)
    config = merged(alertmanager, ours, page, ticket) if alertmanager else ours
    job = scrape_config(options)
    found = {
        "README.md": guide("prometheus"),
        **{
            f"rules/vitals-{name}.yml": as_yaml({"groups": groups})
            for name, groups in rule_groups(options).items()
        },
        "scrape.yml": as_yaml(
            {"scrape_configs": [job]},
            comment="A service has targets and a label `job`; without a token, no authorization.",
        ),
        "alertmanager.yml": as_yaml(
            config,
            comment="" if alertmanager else "A part: merge it, or export with --alertmanager FILE.",
        ),
    }
    if prometheus is not None:
        theirs = with_ours(prometheus, job if options.service else None, f"{folder}/{_RULES}")
        found["prometheus.yml"] = as_yaml(theirs)
    return found
