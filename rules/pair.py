"""What a pair of Prometheus and a pair of Alertmanagers are told, wherever they run.

Both Prometheus scrape all targets, evaluate all rules and send each alert to both Alertmanagers,
which tell each other what they have notified of.
"""

from collections.abc import Mapping, Sequence

REPLICA = "replica"
"""The label in which the two Prometheus differ, and nothing else does."""
ALERT_RELABELING: Sequence[Mapping[str, str]] = ({"action": "labeldrop", "regex": REPLICA},)
"""``alert_relabel_configs``: with the same labels, Alertmanager takes both alerts for one."""
FEATURES = ("exemplar-storage", "extra-scrape-metrics")
"""``--enable-feature`` of Prometheus, in a pair or alone."""


def cluster_flags(listen: str, peers: Sequence[str], advertise: str = "") -> tuple[str, ...]:
    """Options of an Alertmanager of a pair.

    Args:
        listen: Where it hears of the other one, ``host:port``.
        peers: Where the others do; itself may be among them.
        advertise: Where the others find it, if it cannot know that itself.
    """
    return (
        f"--cluster.listen-address={listen}",
        *((f"--cluster.advertise-address={advertise}",) if advertise else ()),
        *(f"--cluster.peer={peer}" for peer in peers),
    )
