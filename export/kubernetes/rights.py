"""What Prometheus may read of the cluster: where services are, and nothing else."""

from export.kubernetes.objects import Object, Objects

_API = "rbac.authorization.k8s.io"
_FOUND = {"": ["services", "pods"], "discovery.k8s.io": ["endpointslices"]}


def discovery_rights(objects: Objects, namespace: str) -> dict[str, Object]:
    """A service account of both Prometheus, with its rights, by file name.

    Args:
        objects: Makes objects.
        namespace: Of the service account.
    """
    account, role = "prometheus", "vitals-discovery"
    return {
        "prometheus-serviceaccount": objects.make("v1", "ServiceAccount", account),
        "prometheus-clusterrole": objects.make(
            f"{_API}/v1",
            "ClusterRole",
            role,
            rules=[
                {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
                for group, resources in _FOUND.items()
            ],
        ),
        "prometheus-clusterrolebinding": objects.make(
            f"{_API}/v1",
            "ClusterRoleBinding",
            role,
            roleRef={"apiGroup": _API, "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        ),
    }
