"""Rules and routes for Mimir's ruler and Alertmanager."""

from export.alertmanager import part
from export.files import as_yaml, guide
from export.options import Options
from export.rule_groups import rule_groups


def files(options: Options, page: str, ticket: str) -> dict[str, str]:
    """Contents by file name; a file of rules has its namespace."""
    return {
        "README.md": guide("mimir"),
        **{
            f"rules/{name}.yaml": as_yaml({"namespace": f"vitals-{name}", "groups": groups})
            for name, groups in rule_groups(options).items()
        },
        "alertmanager.yaml": as_yaml(part(options, page, ticket)),
    }
