"""prometheus/prometheus-pair.yml: the configuration of each of a pair, written from that of one."""

from pathlib import Path

from rules.pair import REPLICA

FOLDER = Path(__file__).parents[1] / "prometheus"
DOCUMENT = FOLDER / "prometheus-pair.yml"
_HEADER = """\
# Rendered by `python -m alerts` from prometheus.yml: change that file, not this one. Each of a pair
# reads it, as `HA=1 docker compose --profile pair up` starts them: the value of `replica` comes
# from the environment, as Prometheus 3 replaces it.
"""
_GLOBAL = "global:\n"
_REPLICA = f'  external_labels: {{ {REPLICA}: "${{REPLICA}}" }}\n'
_BOTH = {
    '["gate:9093"]': '["gate:9093", "gate-2:9093"]',
    '["alertmanager:9093"]': '["alertmanager:9093", "alertmanager-2:9093"]',
    '["localhost:9090"]': '["prometheus:9090", "prometheus-2:9090"]',
}


def render(one: str) -> str:
    """Write it.

    Args:
        one: The text of ``prometheus.yml``.

    Raises:
        ValueError: The text lacks what a pair has two of.
    """
    if missing := [text for text in (_GLOBAL, *_BOTH) if text not in one]:
        raise ValueError(f"prometheus.yml has no {', '.join(map(repr, missing))}")
    text = one[one.index(_GLOBAL) :].replace(_GLOBAL, _GLOBAL + _REPLICA, 1)
    for single, both in _BOTH.items():
        text = text.replace(single, both)
    return _HEADER + text
