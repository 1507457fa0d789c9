"""Rules, boards, scrapes and routes for the Prometheus operator and Grafana's sidecar."""

from export.alertmanager import part
from export.files import as_json, as_yaml
from export.grafana import boards, folder_uid
from export.kubernetes.objects import BOARDS, OF_SERVICES, RULES, TOKEN, Object, Objects
from export.kubernetes.objects import kustomization as list_of
from export.options import Options
from export.rule_groups import rule_groups
from rules.watched import SCRAPE_SETTINGS


def files(objects: Objects, options: Options, page: str, ticket: str) -> dict[str, str]:
    """Contents by file name.

    Args:
        objects: Makes objects.
        options: Of the export.
        page: The receiver of pages, in the AlertmanagerConfig.
        ticket: The receiver of tickets.
    """
    found: dict[str, Object] = {}
    for name, groups in rule_groups(options).items():
        found[f"{RULES}/{name}.yaml"] = objects.make(
            "monitoring.coreos.com/v1", "PrometheusRule", f"vitals-{name}", spec={"groups": groups}
        )
    for uid, board in boards(options).items():
        found[f"{BOARDS}/{uid}.yaml"] = objects.make(
            "v1",
            "ConfigMap",
            f"vitals-board-{uid}",
            labels={"grafana_dashboard": "1"},
            annotations={"grafana_folder": options.folder or folder_uid(options)},
            data={f"{uid}.json": as_json(board)},
        )
    found["servicemonitor.yaml"] = objects.make(
        "monitoring.coreos.com/v1", "ServiceMonitor", "vitals-services", spec=_service_monitor()
    )
    found["alertmanagerconfig.yaml"] = objects.make(
        "monitoring.coreos.com/v1alpha1",
        "AlertmanagerConfig",
        "vitals",
        spec=_alertmanager_config(options, page, ticket),
    )
    lists = {
        "kustomization.yaml": list_of(
            (RULES, BOARDS, "alertmanagerconfig.yaml"), namespace=options.namespace
        ),
        **{
            f"{folder}/kustomization.yaml": list_of(
                name.removeprefix(f"{folder}/") for name in found if name.startswith(f"{folder}/")
            )
            for folder in (RULES, BOARDS)
        },
    }
    return {name: as_yaml(each) for name, each in (found | lists).items()}


def _service_monitor() -> Object:
    return {
        "selector": {"matchLabels": OF_SERVICES},
        "sampleLimit": SCRAPE_SETTINGS["sample_limit"],
        "endpoints": [
            {
                "port": "http",
                "path": "/metrics",
                "interval": "15s",
                "authorization": {"credentials": TOKEN},
                "relabelings": [{"targetLabel": "watched_by", "replacement": "vitals"}],
                "metricRelabelings": [{"action": "labeldrop", "regex": "watched_by"}],
            }
        ],
    }


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
