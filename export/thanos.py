"""Rules for Thanos' ruler."""

from export.alertmanager import part
from export.files import as_yaml, guide
from export.options import Options
from export.rule_groups import rule_groups


def files(options: Options, page: str, ticket: str) -> dict[str, str]:
    """Contents by file name."""
    return {
        "README.md": guide("thanos"),
        **{
            f"rules/vitals-{name}.yaml": as_yaml(
                {"groups": [{**group, "partial_response_strategy": "abort"} for group in groups]}
            )
            for name, groups in rule_groups(options).items()
        },
        "alertmanager.yml": as_yaml(part(options, page, ticket)),
    }
