"""A pair of Prometheus and Alertmanager by the operator."""

from export.files import as_yaml
from export.kubernetes.objects import (
    PAIR,
    Object,
    Objects,
    app,
    kustomization,
    spread,
    user_of_pod,
)
from export.kubernetes.rights import discovery_rights
from export.kubernetes.versions import ALERTMANAGER, NOBODY, PROMETHEUS, RETENTION
from export.options import Options
from rules.pair import FEATURES, REPLICA

_OURS = {"matchLabels": {"app.kubernetes.io/part-of": "vitals"}}

_INSTANCE = {"app.kubernetes.io/instance": "vitals"}
"""What the operator calls the pods of an object of this name."""


def files(objects: Objects, options: Options) -> dict[str, str]:
    """Contents by file name."""
    common = {
        "replicas": 2,
        "securityContext": user_of_pod(NOBODY),
        "automountServiceAccountToken": True,
    }
    prometheus = {
        **common,
        "version": PROMETHEUS,
        "serviceAccountName": "prometheus",
        "topologySpreadConstraints": spread("prometheus"),
        # As in our own stack; the operator drops it from alerts.
        "replicaExternalLabelName": REPLICA,
        "scrapeInterval": "15s",
        "evaluationInterval": "15s",
        "retention": RETENTION,
        "retentionSize": "18GB",
        "storage": _volume("20Gi"),
        "enableFeatures": list(FEATURES),
        "ruleSelector": _OURS,
        "serviceDiscoveryRole": "EndpointSlice",
        "serviceMonitorSelector": _OURS,
        "serviceMonitorNamespaceSelector": {},
        "alerting": {
            "alertmanagers": [
                {"namespace": options.namespace, "name": "alertmanager-operated", "port": "web"}
            ]
        },
    }
    alertmanager = {
        **common,
        "version": ALERTMANAGER,
        "topologySpreadConstraints": spread("alertmanager"),
        "storage": _volume("1Gi"),
        "alertmanagerConfigSelector": _OURS,
        # Else only alerts of the namespace of `alertmanagerconfig.yaml` would have its routes.
        "alertmanagerConfigMatcherStrategy": {"type": "None"},
    }
    kinds = {
        "prometheus": ("Prometheus", prometheus),
        "alertmanager": ("Alertmanager", alertmanager),
    }
    found = {
        name: objects.make("monitoring.coreos.com/v1", kind, "vitals", spec=spec)
        for name, (kind, spec) in kinds.items()
    } | {
        f"{name}-poddisruptionbudget": objects.make(
            "policy/v1",
            "PodDisruptionBudget",
            name,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": {**app(name), **_INSTANCE}}},
        )
        for name in kinds
    }
    found |= {f"{name}-servicemonitor": _of_itself(objects, name) for name in kinds}
    found |= discovery_rights(objects, options.namespace)
    return {
        f"{PAIR}/kustomization.yaml": as_yaml(
            kustomization((f"{name}.yaml" for name in found), namespace=options.namespace)
        ),
        **{f"{PAIR}/{name}.yaml": as_yaml(each) for name, each in found.items()},
    }


def _of_itself(objects: Objects, name: str) -> Object:
    """The scrape of both of a kind, by the Service that the operator makes."""
    return objects.make(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        f"vitals-{name}",
        spec={
            "selector": {"matchLabels": {f"operated-{name}": "true"}},
            "endpoints": [
                {
                    "port": "web",
                    "interval": "15s",
                    # The name of the job that alerts are declared for.
                    "relabelings": [{"targetLabel": "job", "replacement": name}],
                }
            ],
        },
    )


def _volume(size: str) -> dict[str, object]:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {"volumeClaimTemplate": {"spec": claim}}
