"""The API in Kubernetes: Deployment, Service, scaling, disruption budget, network policy."""

from export.files import as_yaml
from export.kubernetes.objects import (
    API,
    CONFINED,
    DNS,
    OF_SERVICES,
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
from export.options import Options
from vitals.metrics.catalogue import HTTP_ACTIVE_REQUESTS

NAME, PORT, USER = "api", 8000, 10001
LEAST, MOST, SURGE = 3, 10, 1
"""Replicas; and those above in a rolling update."""
POOL_SIZE = 5
"""Connections of a pod: 11 x (5 + 2) = 77 of the 97 that PostgreSQL allows by default."""
ENDPOINT_SECONDS = 5
"""`preStop`: until all nodes know that the pod gets no new connections."""
DELAY_SECONDS, TIMEOUT_SECONDS = 5, 10
"""Then `/readyz` fails, for balancers with health checks of their own; then requests end."""
BUSY = "8"
"""Requests in progress of a pod, on average over a minute, at which another one is added."""
_SECRETS = "/run/secrets/vitals"
_OUTSIDE = (5432, 6432, 6379, 26379, 4317, 4318)
"""PostgreSQL, PgBouncer, Redis, Sentinel, OTLP."""


def files(objects: Objects, options: Options) -> dict[str, str]:
    """Contents by file name; see ``guides/kubernetes.md``."""
    make = objects.make
    found = {
        "deployment": make("apps/v1", "Deployment", NAME, labels=app(NAME), spec=_deployment()),
        "settings": make("v1", "ConfigMap", "api-settings", labels=app(NAME), data=_settings()),
        "service": make(
            "v1",
            "Service",
            NAME,
            labels={**app(NAME), **OF_SERVICES},
            annotations={
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
            spec={
                "selector": app(NAME),
                "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
            },
        ),
        "serviceaccount": make(
            "v1", "ServiceAccount", NAME, labels=app(NAME), automountServiceAccountToken=False
        ),
        "poddisruptionbudget": make(
            "policy/v1",
            "PodDisruptionBudget",
            NAME,
            labels=app(NAME),
            spec={"maxUnavailable": 1, "selector": {"matchLabels": app(NAME)}},
        ),
        "horizontalpodautoscaler": make(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            NAME,
            labels=app(NAME),
            spec=_scaling(),
        ),
        "networkpolicy": make(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            NAME,
            labels=app(NAME),
            spec=_network(options.namespace),
        ),
    }
    return {
        f"{API}/kustomization.yaml": as_yaml(
            kustomization(
                (f"{name}.yaml" for name in found),
                images=[{"name": "vitals-api", "newName": "vitals-api", "newTag": "0.1.0"}],
            ),
            comment="The image is built from Dockerfile, target api; name your registry here.",
        ),
        **{f"{API}/{name}.yaml": as_yaml(each) for name, each in found.items()},
        "adapter-values.yaml": as_yaml(
            _adapter(),
            comment="Values of the chart prometheus-adapter, which answers the autoscaler.",
        ),
    }


def _settings() -> dict[str, str]:
    return {
        "SERVICE_HOST": "0.0.0.0",  # noqa: S104 - a pod has an address of its own
        "SERVICE_PORT": str(PORT),
        "SERVICE_BEHIND_TLS_PROXY": "true",
        "SERVICE_DATABASE_URL": "postgresql+asyncpg://vitals@postgres:5432/vitals",
        "SERVICE_DATABASE_PASSWORD_FILE": f"{_SECRETS}/database-password",
        "SERVICE_REDIS_URL": "redis://redis:6379/0",
        "SERVICE_REDIS_PASSWORD_FILE": f"{_SECRETS}/redis-password",
        "SERVICE_JWT_KEY_FILE": f"{_SECRETS}/jwt-key",
        "SERVICE_METRICS_TOKEN_FILE": f"{_SECRETS}/metrics-token",
        "SERVICE_POOL_SIZE": str(POOL_SIZE),
        "SERVICE_INSTANCES": str(MOST + SURGE),
        # Longer than ingress-nginx keeps an idle connection.
        "SERVICE_KEEP_ALIVE_TIMEOUT": "75",
        "SERVICE_SHUTDOWN_DELAY": str(DELAY_SECONDS),
        "SERVICE_SHUTDOWN_TIMEOUT": str(TIMEOUT_SECONDS),
    }


def _deployment() -> Object:
    return {
        # No number of replicas: it is the autoscaler's, and would be reset by each `apply`.
        "selector": {"matchLabels": app(NAME)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": SURGE},
        },
        "template": {"metadata": {"labels": app(NAME)}, "spec": _pod()},
    }


def _pod() -> Object:
    secrets = ("database-password", "redis-password", "jwt-key")
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        # Kubernetes would set SERVICE_* variables for a Service that is named `service`.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ENDPOINT_SECONDS + DELAY_SECONDS + TIMEOUT_SECONDS + 10,
        "securityContext": user_of_pod(USER),
        "topologySpreadConstraints": spread(NAME),
        "containers": [
            {
                "name": NAME,
                "image": "vitals-api",
                "envFrom": [{"configMapRef": {"name": "api-settings"}}],
                "env": [
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "k8s.pod.name=$(POD)"},
                ],
                "ports": [{"name": "http", "containerPort": PORT}],
                # A start may migrate the database.
                "startupProbe": _probe("/healthz", periodSeconds=2, failureThreshold=60),
                "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=3),
                "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=1),
                "lifecycle": {"preStop": {"sleep": {"seconds": ENDPOINT_SECONDS}}},
                # No limit of CPU: a throttled event loop delays every request of its pod.
                "resources": {
                    "requests": {"cpu": "250m", "memory": "256Mi"},
                    "limits": {"memory": "512Mi"},
                },
                "securityContext": CONFINED,
                "volumeMounts": [
                    {"name": "secrets", "mountPath": _SECRETS, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - of the pod alone
                ],
            }
        ],
        "volumes": [
            {
                "name": "secrets",
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {
                            "secret": {
                                "name": "vitals-api",
                                "items": [{"key": name, "path": name} for name in secrets],
                            }
                        },
                        {
                            "secret": {
                                "name": TOKEN["name"],
                                "items": [{"key": TOKEN["key"], "path": "metrics-token"}],
                            }
                        },
                    ],
                },
            },
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        ],
    }


def _probe(path: str, **times: int) -> Object:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3, **times}


def _scaling() -> Object:
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "minReplicas": LEAST,
        "maxReplicas": MOST,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": HTTP_ACTIVE_REQUESTS.name},
                    "target": {"type": "AverageValue", "averageValue": BUSY},
                },
            }
        ],
        "behavior": {
            "scaleUp": {"policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}]},
            "scaleDown": {
                "stabilizationWindowSeconds": 300,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            },
        },
    }


def _adapter() -> Object:
    name = HTTP_ACTIVE_REQUESTS.name
    return {
        "rules": {
            "default": False,
            "custom": [
                {
                    "seriesQuery": f'{name}{{namespace!="",pod!=""}}',
                    "resources": {
                        "overrides": {
                            "namespace": {"resource": "namespace"},
                            "pod": {"resource": "pod"},
                        }
                    },
                    "name": {"matches": name, "as": name},
                    "metricsQuery": "sum by (<<.GroupBy>>) "
                    "(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[1m]))",
                }
            ],
        }
    }


def _network(monitoring: str) -> Object:
    return {
        "podSelector": {"matchLabels": app(NAME)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [from_namespace("ingress-nginx"), from_namespace(monitoring)],
                "ports": ports(PORT),
            }
        ],
        "egress": [DNS, {"ports": ports(*_OUTSIDE)}],
    }
