"""Rules for vmalert and scrape jobs for vmagent."""

from export.alertmanager import part
from export.files import as_yaml, guide
from export.options import Options
from export.prometheus import scrape_config
from export.rule_groups import rule_groups


def files(options: Options, page: str, ticket: str) -> dict[str, str]:
    """Contents by file name."""
    return {
        "README.md": guide("victoriametrics"),
        **{
            f"rules/vitals-{name}.yml": as_yaml({"groups": groups})
            for name, groups in rule_groups(options).items()
        },
        "scrape.yml": as_yaml({"scrape_configs": [scrape_config(options)]}),
        "alertmanager.yml": as_yaml(part(options, page, ticket)),
    }
