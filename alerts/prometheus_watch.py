"""prometheus/prometheus-watch.yml: the configuration without our API, written from that with it."""

import re

from alerts.prometheus_pair import FOLDER

DOCUMENT = FOLDER / "prometheus-watch.yml"
OF_API = ("api", "postgres", "redis")
"""The jobs of the API and its databases."""
_HEADER = """\
# Rendered by `python -m alerts` from prometheus.yml: change that file, not this one. It watches
# what targets/ names and no API of ours, as `docker compose --profile watch up` starts it.
"""
_GLOBAL = "global:\n"
_JOB = r"(?m)^(?:  #.*\n)*  - job_name: {name}\n(?:    .*\n)*\n"


def render(one: str) -> str:
    """Write it.

    Args:
        one: The text of ``prometheus.yml``.

    Raises:
        ValueError: The text lacks a job that is left out.
    """
    text = one[one.index(_GLOBAL) :]
    for name in OF_API:
        text, found = re.subn(_JOB.format(name=name), "", text)
        if found != 1:
            raise ValueError(f"prometheus.yml has no job {name}")
    return _HEADER + text
