"""Rules for vmalert, scrape jobs for vmagent, routes for vmauth, for a pair or a cluster."""

from typing import Any

from export.alertmanager import part
from export.files import as_yaml, guide
from export.options import Options
from export.prometheus import scrape_config
from export.rule_groups import rule_groups
from rules.watched import SCRAPE_SETTINGS

NODES = ("victoria-1", "victoria-2")
"""Names of a pair of single nodes, which the guide and the files share."""
_OWN = {
    "victoria-metrics": [f"{node}:8428" for node in NODES],
    "vmagent": ["vmagent:8429"],
    "vmalert": ["vmalert-1:8880", "vmalert-2:8880"],
    "vmauth": ["vmauth:8427"],
    "alertmanager": ["alertmanager-1:9093", "alertmanager-2:9093"],
}
"""The programs themselves, which alerts are about too."""
_READ = (
    "/api/v1/query",
    "/api/v1/query_range",
    "/api/v1/query_exemplars",
    "/api/v1/series",
    "/api/v1/labels",
    "/api/v1/label/.+/values",
    "/api/v1/metadata",
    "/api/v1/status/buildinfo",
)
"""Paths that Grafana and the viewer read."""
_RETRIED = [500, 502, 503, 504]
_WITHOUT_REPLICA = [{"action": "labeldrop", "regex": "replica"}]
"""Of a pair of Prometheus: both write the same series, of which a node keeps one sample an
interval. With the label they would be two series, and every sum over them double."""


def files(options: Options, page: str, ticket: str) -> dict[str, str]:
    """Contents by file name.

    Args:
        options: Of the export.
        page: The receiver of pages.
        ticket: The receiver of tickets.
    """
    return {
        "README.md": guide("victoriametrics"),
        **{
            f"rules/vitals-{name}.yml": as_yaml({"groups": groups})
            for name, groups in rule_groups(options).items()
        },
        "vmagent.yml": as_yaml(
            {"scrape_configs": [scrape_config(options), *_own_jobs()]},
            comment="A service has targets and a label `job`; without a token, no authorization.",
        ),
        "vmauth.yml": as_yaml(
            _routes([f"http://{node}:8428" for node in NODES]),
            comment="Reads from the first node that answers. VMAUTH_PASSWORD is read from the\n"
            "environment.",
        ),
        "vmauth-cluster.yml": as_yaml(
            _routes(
                [f"http://vmselect-{number}:8481/select/0/prometheus" for number in (1, 2)],
                [f"http://vminsert-{number}:8480/insert/0/prometheus" for number in (1, 2)],
            ),
            comment="The same in front of a cluster, and what writes to it, which has\n"
            "VMAUTH_WRITE_PASSWORD.",
        ),
        "prometheus.yml": as_yaml(
            {
                "global": {"external_labels": {"replica": "NAME_OF_REPLICA"}},
                "remote_write": [
                    {
                        "url": f"http://{node}:8428/api/v1/write",
                        "write_relabel_configs": _WITHOUT_REPLICA,
                    }
                    for node in NODES
                ],
            },
            comment="Instead of vmagent: a part of the configuration of each of two Prometheus.",
        ),
        "alertmanager.yml": as_yaml(part(options, page, ticket)),
    }


def _own_jobs() -> list[dict[str, Any]]:
    return [
        {
            "job_name": job,
            "static_configs": [{"targets": targets}],
            # What prometheus.yml declares is watched from the start: so are these.
            **{name: value for name, value in SCRAPE_SETTINGS.items() if name != "sample_limit"},
        }
        for job, targets in _OWN.items()
    ]


def _routes(read: list[str], write: list[str] | None = None) -> dict[str, Any]:
    """A user who reads, and one who writes where there is something to write to."""
    users: list[dict[str, Any]] = [
        {
            "username": "grafana",
            "password": "%{VMAUTH_PASSWORD}",
            "url_map": [
                {
                    "src_paths": [*_READ],
                    "url_prefix": read,
                    "load_balancing_policy": "first_available",
                    "retry_status_codes": _RETRIED,
                }
            ],
        }
    ]
    if write:
        users.append(
            {
                "username": "vmagent",
                "password": "%{VMAUTH_WRITE_PASSWORD}",
                "url_map": [
                    {
                        "src_paths": ["/api/v1/write"],
                        "url_prefix": write,
                        "retry_status_codes": _RETRIED,
                    }
                ],
            }
        )
    return {"users": users}
