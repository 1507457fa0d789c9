"""Files for a Prometheus and an Alertmanager that are there already."""

from export.alertmanager import merged, part
from export.files import as_yaml, guide
from export.options import Options
from export.rule_groups import rule_groups
from export.unread import drop
from rules.watched import SCRAPE_SETTINGS


def scrape_config(options: Options) -> dict[str, object]:
    """A job with services of the kit."""
    labels = {label: f"NAME_OF_{label.upper()}" for label in options.identity.further}
    relabeling = SCRAPE_SETTINGS["metric_relabel_configs"]
    dropping = {"metric_relabel_configs": [*relabeling, drop()]} if options.drop_unread else {}
    return {
        "job_name": "vitals-services",
        "authorization": {"credentials_file": "/etc/prometheus/vitals-token"},
        "static_configs": [{"targets": ["127.0.0.1:8000"], "labels": {"job": "shop", **labels}}],
        **SCRAPE_SETTINGS,
        **dropping,
    }


def files(options: Options, page: str, ticket: str, alertmanager: str = "") -> dict[str, str]:
    """Contents by file name.

    Args:
        options: Of the export.
        page: The receiver of pages.
        ticket: The receiver of tickets.
        alertmanager: A configuration to merge our routes into.
    """
    ours = part(options, page, ticket)
    config = merged(alertmanager, ours, page, ticket) if alertmanager else ours
    return {
        "README.md": guide("prometheus"),
        **{
            f"rules/vitals-{name}.yml": as_yaml({"groups": groups})
            for name, groups in rule_groups(options).items()
        },
        "scrape.yml": as_yaml(
            {"scrape_configs": [scrape_config(options)]},
            comment="A service has targets and a label `job`; without a token, no authorization.",
        ),
        "alertmanager.yml": as_yaml(
            config,
            comment="" if alertmanager else "A part: merge it, or export with --alertmanager FILE.",
        ),
    }
