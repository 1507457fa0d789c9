"""Objects for Kubernetes: those of the Prometheus operator, and ConfigMaps with boards."""

from typing import Any

from export.alertmanager import part
from export.files import MADE_BY, as_json, as_yaml, guide
from export.grafana import boards, folder_uid
from export.options import Options
from export.rule_groups import rule_groups

Object = dict[str, Any]


def files(
    options: Options, page: str, ticket: str, object_labels: dict[str, str]
) -> dict[str, str]:
    """Contents by file name.

    Args:
        options: Of the export.
        page: The receiver of pages, in the AlertmanagerConfig.
        ticket: The receiver of tickets.
        object_labels: Labels of each object.
    """

    def metadata(name: str, **more: Any) -> Object:
        labels = {"app.kubernetes.io/part-of": "vitals", **object_labels, **more.pop("labels", {})}
        annotations = {"vitals/made-by": MADE_BY, **more.pop("annotations", {})}
        return {"name": name, "labels": labels, "annotations": annotations, **more}

    found = {"README.md": guide("kubernetes", NAMESPACE=options.namespace)}
    for name, groups in rule_groups(options).items():
        found[f"rules/{name}.yaml"] = as_yaml(
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": metadata(f"vitals-{name}"),
                "spec": {"groups": groups},
            }
        )
    for uid, board in boards(options).items():
        found[f"boards/{uid}.yaml"] = as_yaml(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata(
                    f"vitals-board-{uid}",
                    labels={"grafana_dashboard": "1"},
                    annotations={"grafana_folder": options.folder or folder_uid(options)},
                ),
                "data": {f"{uid}.json": as_json(board)},
            }
        )
    found["servicemonitor.yaml"] = as_yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata("vitals-services"),
            "spec": {
                "selector": {"matchLabels": {"vitals": "true"}},
                "sampleLimit": 50_000,
                "endpoints": [
                    {
                        "port": "http",
                        "path": "/metrics",
                        "interval": "15s",
                        "authorization": {
                            "credentials": {"name": "vitals-metrics-token", "key": "token"}
                        },
                        "relabelings": [{"targetLabel": "watched_by", "replacement": "vitals"}],
                        "metricRelabelings": [{"action": "labeldrop", "regex": "watched_by"}],
                    }
                ],
            },
        }
    )
    found["alertmanagerconfig.yaml"] = as_yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1alpha1",
            "kind": "AlertmanagerConfig",
            "metadata": metadata("vitals"),
            "spec": _alertmanager_config(options, page, ticket),
        }
    )
    return found


def _alertmanager_config(options: Options, page: str, ticket: str) -> Object:
    ours = part(options, page, ticket)
    [route] = ours["route"]["routes"]
    names = dict.fromkeys([page, ticket, *(each["name"] for each in ours["receivers"])])
    return {
        "route": _route(route),
        "receivers": [{"name": name} for name in names],
        "inhibitRules": [
            {
                "sourceMatch": [_matcher(each) for each in rule["source_matchers"]],
                "targetMatch": [_matcher(each) for each in rule["target_matchers"]],
                "equal": rule["equal"],
            }
            for rule in ours["inhibit_rules"]
        ],
    }


def _route(route: Object) -> Object:
    renamed = {
        "group_by": "groupBy",
        "group_wait": "groupWait",
        "group_interval": "groupInterval",
        "repeat_interval": "repeatInterval",
    }
    found = {renamed.get(name, name): value for name, value in route.items()}
    found["matchers"] = [_matcher(each) for each in route["matchers"]]
    if "routes" in route:
        found["routes"] = [_route(each) for each in route["routes"]]
    return found


def _matcher(text: str) -> Object:
    name, quote, value = text.partition('"')
    operator = next(each for each in ("=~", "!~", "!=", "=") if name.endswith(each))
    return {
        "name": name.removesuffix(operator),
        "matchType": operator,
        "value": value.removesuffix(quote),
    }
