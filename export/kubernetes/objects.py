"""What all objects for Kubernetes have in common, and kustomize's lists of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from export.files import MADE_BY

Object = dict[str, Any]

RULES, BOARDS, API, PAIR, PLAIN = "rules", "boards", "api", "pair", "plain"
"""Folders, each a base of its own."""
OF_SERVICES = {"vitals": "true"}
"""Labels of the Services that are scraped."""
TOKEN = {"name": "vitals-metrics-token", "key": "token"}
"""The Secret with the token of `/metrics`."""


@dataclass(frozen=True)
class Objects:
    """Makes objects.

    Attributes:
        labels: Labels of each object, besides ours.
    """

    labels: Mapping[str, str]

    def make(self, api: str, kind: str, name: str, **fields: Any) -> Object:
        """An object.

        Args:
            api: Its ``apiVersion``.
            kind: Its kind.
            name: Its name.
            **fields: ``spec``, ``data`` and the like; ``labels`` and ``annotations`` are added to
                the metadata.
        """
        labels = {"app.kubernetes.io/part-of": "vitals", **self.labels, **fields.pop("labels", {})}
        annotations = {"vitals/made-by": MADE_BY, **fields.pop("annotations", {})}
        metadata = {"name": name, "labels": labels, "annotations": annotations}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def kustomization(resources: Iterable[str], **more: Any) -> Object:
    """A ``kustomization.yaml`` with files or folders."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        **more,
        "resources": [*resources],
    }


def app(name: str) -> dict[str, str]:
    """The label by which pods of one application are selected."""
    return {"app.kubernetes.io/name": name}


def spread(name: str) -> list[Object]:
    """Constraints by which pods are on different nodes, if there are several."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": app(name)},
        }
    ]


def user_of_pod(number: int) -> Object:
    """A pod's security context: an ordinary user, system calls filtered."""
    return {
        "runAsNonRoot": True,
        "runAsUser": number,
        "runAsGroup": number,
        "fsGroup": number,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


CONFINED: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""A container's security context."""


def from_namespace(name: str) -> Object:
    """A peer of a NetworkPolicy: all pods of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def ports(*numbers: int, protocol: str = "TCP") -> list[Object]:
    """Ports of a NetworkPolicy."""
    return [{"protocol": protocol, "port": number} for number in numbers]


DNS: Object = {"ports": [*ports(53, protocol="UDP"), *ports(53)]}
"""A rule of a NetworkPolicy for what leaves a pod."""
