"""What Prometheus should have loaded: rules and queries of this version, from a rendered file.

``expectations.json`` is written by ``python -m checks.expectations`` from the committed rules and
boards, because the kit knows neither.
"""

import json
import re
from dataclasses import dataclass
from importlib.resources import files

FILE = "expectations.json"
JOB = "__job__"
"""Stands for the job in the queries."""


@dataclass(frozen=True)
class Expectations:
    """The rules and a sample of the boards' queries.

    Attributes:
        rules: By group and name, the normalized queries of its rules: an alert may have variants.
        queries: Queries by board.
    """

    rules: dict[str, dict[str, list[str]]]
    queries: dict[str, list[str]]

    @classmethod
    def load(cls) -> "Expectations":
        """Read those of this version."""
        return cls(**json.loads(files("vitals.doctor").joinpath(FILE).read_text()))

    def dump(self) -> str:
        """The content of the file."""
        return json.dumps({"rules": self.rules, "queries": self.queries}, indent=1) + "\n"


_SPACE = re.compile(r"\s+")
_EMPTY_BRACES = re.compile(r"(?<=[\w:])\{\}")
_NUMBER = re.compile(r"(?<![\w.:])\d+(\.\d+)?(e[+-]?\d+)?(?![\w.])")


def normalize(query: str) -> str:
    """A query as every version of Prometheus prints it, and as we do: without white space.

    Prometheus prints large numbers with an exponent, and infinity with its sign.
    """
    compact = _EMPTY_BRACES.sub("", _SPACE.sub("", query)).replace("+Inf", "Inf")
    return _NUMBER.sub(lambda found: repr(float(found[0])), compact)
