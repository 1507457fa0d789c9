"""A pair of Prometheus and Alertmanager without the operator: StatefulSets and ConfigMaps."""

from typing import Any

from export.alertmanager import part
from export.files import as_yaml
from export.kubernetes.objects import (
    BOARDS,
    CONFINED,
    DNS,
    OF_SERVICES,
    PLAIN,
    TOKEN,
    Object,
    Objects,
    app,
    from_namespace,
    kustomization,
    ports,
    spread,
    user_of_pod,
)
from export.kubernetes.rights import discovery_rights
from export.kubernetes.versions import ALERTMANAGER, NOBODY, PROMETHEUS, RETENTION
from export.options import Options
from export.rule_groups import rule_groups
from rules.pair import ALERT_RELABELING, FEATURES, REPLICA, cluster_flags
from rules.watched import SCRAPE_SETTINGS

_ETC = "/etc/vitals"
_RECEIVERS = ("page", "ticket", "heartbeat")
_SERVICE = "__meta_kubernetes_service"
_MOST_ALERTS = 100
"""Of one notification: a receiver may refuse a larger one."""


def files(objects: Objects, options: Options) -> dict[str, str]:
    """Contents by file name; see ``guides/kubernetes.md``."""
    rules = {
        f"rules-{name}": objects.make(
            "v1",
            "ConfigMap",
            f"vitals-rules-{name}",
            data={f"{name}.yml": as_yaml({"groups": groups})},
        )
        for name, groups in rule_groups(options).items()
    }
    found = {
        **rules,
        "prometheus-config": _config(objects, "prometheus", prometheus_config(options)),
        "prometheus": _stateful(objects, "prometheus", _prometheus([*rules])),
        "prometheus-service": _headless(objects, "prometheus", 9090),
        "prometheus-poddisruptionbudget": _budget(objects, "prometheus"),
        "prometheus-networkpolicy": _network(objects, "prometheus", [9090], options, egress=[{}]),
        **discovery_rights(objects, options.namespace),
        "alertmanager-config": _config(objects, "alertmanager", alertmanager_config(options)),
        "alertmanager": _stateful(objects, "alertmanager", _alertmanager()),
        "alertmanager-service": _headless(objects, "alertmanager", 9093, 9094),
        "alertmanager-poddisruptionbudget": _budget(objects, "alertmanager"),
        "alertmanager-networkpolicy": _network(
            objects,
            "alertmanager",
            [9093, 9094],
            options,
            egress=[DNS, {"ports": ports(443, 9094)}],
        ),
    }
    return {
        f"{PLAIN}/kustomization.yaml": as_yaml(
            kustomization(
                (f"../{BOARDS}", *(f"{name}.yaml" for name in found)), namespace=options.namespace
            )
        ),
        **{f"{PLAIN}/{name}.yaml": as_yaml(each) for name, each in found.items()},
    }


def prometheus_config(options: Options) -> Object:
    """``prometheus.yml`` of both."""
    further = [label for label in options.identity.further if label != "namespace"]
    settings = {name: value for name, value in SCRAPE_SETTINGS.items() if name != "relabel_configs"}
    return {
        "global": {
            "scrape_interval": "15s",
            "evaluation_interval": "15s",
            # Prometheus 3 replaces the variable.
            "external_labels": {
                REPLICA: "${POD}",
                **{label: f"NAME_OF_{label.upper()}" for label in further},
            },
        },
        "rule_files": [f"{_ETC}/rules/*.yml"],
        "alerting": {
            "alert_relabel_configs": [dict(each) for each in ALERT_RELABELING],
            "alertmanagers": [{"static_configs": [{"targets": _each("alertmanager", 9093)}]}],
        },
        "scrape_configs": [
            {
                "job_name": "vitals-services",
                "authorization": {"credentials_file": f"{_ETC}/token/{TOKEN['key']}"},
                "kubernetes_sd_configs": [{"role": "endpointslice"}],
                **settings,
                "relabel_configs": [*_found_services(), *SCRAPE_SETTINGS["relabel_configs"]],
            },
            {
                "job_name": "prometheus",
                "static_configs": [{"targets": _each("prometheus", 9090)}],
            },
            {
                "job_name": "alertmanager",
                "static_configs": [{"targets": _each("alertmanager", 9093)}],
            },
        ],
    }


def _found_services() -> list[Object]:
    """Scrape what the annotations say, of Services with our label alone: they get the token."""
    [(label, value)] = OF_SERVICES.items()
    annotation = f"{_SERVICE}_annotation_prometheus_io"
    copied = {
        "job": f"{_SERVICE}_name",
        "namespace": "__meta_kubernetes_namespace",
        "pod": "__meta_kubernetes_pod_name",
    }
    return [
        {"source_labels": [f"{_SERVICE}_label_{label}"], "regex": value, "action": "keep"},
        {"source_labels": [f"{annotation}_scrape"], "regex": "true", "action": "keep"},
        {
            "source_labels": [f"{annotation}_path"],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
        },
        {
            "source_labels": ["__address__", f"{annotation}_port"],
            "regex": r"(.+?)(?::\d+)?;(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        *({"source_labels": [source], "target_label": target} for target, source in copied.items()),
    ]


def alertmanager_config(options: Options) -> Object:
    """``alertmanager.yml`` of both: receivers are webhooks, whose URLs are in a Secret."""
    ours = part(options, "page", "ticket")
    by_name = {each["name"]: each for each in ours["receivers"]}
    names = dict(zip(("page", "ticket", "vitals-heartbeat"), _RECEIVERS, strict=True))
    for name, key in names.items():
        webhook = {"url_file": f"{_ETC}/receivers/{key}-url", "max_alerts": _MOST_ALERTS}
        by_name[name] = {"name": name, "webhook_configs": [webhook]}
    return {
        "route": {"receiver": "ticket", "routes": ours["route"]["routes"]},
        "inhibit_rules": ours["inhibit_rules"],
        "receivers": [*by_name.values()],
    }


def _each(name: str, port: int) -> list[str]:
    return [f"{name}-{number}.{name}:{port}" for number in range(2)]


def _config(objects: Objects, name: str, config: Object) -> Object:
    return objects.make("v1", "ConfigMap", f"{name}-config", data={f"{name}.yml": as_yaml(config)})


def _stateful(objects: Objects, name: str, pod: Object) -> Object:
    size = pod.pop("size")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return objects.make(
        "apps/v1",
        "StatefulSet",
        name,
        labels=app(name),
        spec={
            "serviceName": name,
            "replicas": 2,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": app(name)},
            "template": {
                "metadata": {"labels": app(name)},
                "spec": {
                    "enableServiceLinks": False,
                    "securityContext": user_of_pod(NOBODY),
                    "topologySpreadConstraints": spread(name),
                    **pod,
                },
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    )


def _prometheus(rules: list[str]) -> Object:
    sources = [{"configMap": {"name": f"vitals-{name}"}} for name in rules]
    return {
        "size": "20Gi",
        "serviceAccountName": "prometheus",
        "terminationGracePeriodSeconds": 300,
        "containers": [
            _container(
                "prometheus",
                f"prom/prometheus:{PROMETHEUS}",
                9090,
                [
                    f"--config.file={_ETC}/config/prometheus.yml",
                    "--storage.tsdb.path=/data",
                    f"--storage.tsdb.retention.time={RETENTION}",
                    "--storage.tsdb.retention.size=18GB",
                    "--rules.alert.for-grace-period=0s",
                    f"--enable-feature={','.join(FEATURES)}",
                    "--web.cors.origin=none",
                ],
                {"config": "config", "rules": "rules", "token": "token"},
                memory="2Gi",
            )
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "prometheus-config"}},
            {"name": "rules", "projected": {"sources": sources}},
            {"name": "token", "secret": {"secretName": TOKEN["name"], "defaultMode": 0o440}},
        ],
    }


def _alertmanager() -> Object:
    return {
        "size": "1Gi",
        "automountServiceAccountToken": False,
        "containers": [
            _container(
                "alertmanager",
                f"prom/alertmanager:{ALERTMANAGER}",
                9093,
                [
                    f"--config.file={_ETC}/config/alertmanager.yml",
                    "--storage.path=/data",
                    "--data.maintenance-interval=15s",
                    *cluster_flags("0.0.0.0:9094", _each("alertmanager", 9094)),
                ],
                {"config": "config", "receivers": "receivers"},
                memory="256Mi",
            )
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": "alertmanager-config"}},
            {
                "name": "receivers",
                "secret": {"secretName": "vitals-receivers", "defaultMode": 0o440},
            },
        ],
    }


def _container(
    name: str, image: str, port: int, flags: list[str], mounts: dict[str, str], *, memory: str
) -> Object:
    def probe(path: str, **times: int) -> Object:
        return {"httpGet": {"path": path, "port": "web"}, "timeoutSeconds": 3, **times}

    return {
        "name": name,
        "image": image,
        "args": flags,
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "web", "containerPort": port}],
        # A start reads the log of writes, which takes minutes after a crash.
        "startupProbe": probe("/-/ready", periodSeconds=5, failureThreshold=120),
        "livenessProbe": probe("/-/healthy", periodSeconds=10, failureThreshold=6),
        "readinessProbe": probe("/-/ready", periodSeconds=5, failureThreshold=3),
        "resources": {"requests": {"cpu": "250m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": CONFINED,
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            *(
                {"name": volume, "mountPath": f"{_ETC}/{folder}", "readOnly": True}
                for volume, folder in mounts.items()
            ),
        ],
    }


def _headless(objects: Objects, name: str, *numbers: int) -> Object:
    listed = [{"name": f"port-{number}", "port": number} for number in numbers]
    gossip = [
        {"name": f"port-{number}-udp", "port": number, "protocol": "UDP"} for number in numbers[1:]
    ]
    return objects.make(
        "v1",
        "Service",
        name,
        labels=app(name),
        spec={
            "clusterIP": "None",
            "selector": app(name),
            # Alertmanagers must find each other before they are ready.
            "publishNotReadyAddresses": len(numbers) > 1,
            "ports": [*listed, *gossip],
        },
    )


def _budget(objects: Objects, name: str) -> Object:
    return objects.make(
        "policy/v1",
        "PodDisruptionBudget",
        name,
        labels=app(name),
        spec={"maxUnavailable": 1, "selector": {"matchLabels": app(name)}},
    )


def _network(
    objects: Objects, name: str, numbers: list[int], options: Options, egress: list[Any]
) -> Object:
    gossip = ports(*numbers[1:], protocol="UDP")
    if gossip:
        egress = [*egress, {"ports": gossip}]
    return objects.make(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        name,
        labels=app(name),
        spec={
            "podSelector": {"matchLabels": app(name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [from_namespace(options.namespace)], "ports": [*ports(*numbers), *gossip]}
            ],
            "egress": egress,
        },
    )
