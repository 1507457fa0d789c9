"""Identity labels: the labels that tell services apart: ``job``, and what is added to it.

Rules, alerts and boards are declared for ``job`` alone. Where several clusters or environments run
a service of one name, each of their queries is rendered for all identity labels, such as
``cluster, namespace, job``: in every ``by`` and ``on``, in every selector of the chosen service, in
every lookup of an annotation.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_JOB = "job"
# Not by the parser: its tree cannot be changed, and annotations hold queries in templates.
_GROUPING = re.compile(r"\b(by|on)(\s*)\(([^()]*)\)")
_CHOSEN = re.compile(r'\bjob(=~|=|!~|!=)"([^"]*\$job\b[^"]*)"')
_LOOKUP = re.compile(r'printf "((?:[^"\\]|\\.)*)"((?: \$?[\w.]+)+)')
_PLACEHOLDER = re.compile(r"(?:\b(\w+)=)?%q")
_OF_JOB = "{{ $labels.job }}"


@dataclass(frozen=True)
class Identity:
    """Identity labels, the widest first; ``job`` is always one.

    Attributes:
        labels: Their names.

    Raises:
        ValueError: A name is invalid, is there twice, or ``job`` is missing.
    """

    labels: tuple[str, ...] = (_JOB,)

    def __post_init__(self) -> None:
        for label in self.labels:
            if not _NAME.fullmatch(label) or label.startswith("__"):
                raise ValueError(f"identity label {label!r} is no label's name")
        if len({*self.labels}) < len(self.labels):
            raise ValueError(f"identity labels {', '.join(self.labels)}: one is there twice")
        if _JOB not in self.labels:
            raise ValueError(
                f"identity labels {', '.join(self.labels)} must include job: add it at the end"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read names that are separated by commas.

        Raises:
            ValueError: See `Identity`.
        """
        return cls(tuple(name.strip() for name in text.split(",")))

    @property
    def further(self) -> tuple[str, ...]:
        """The labels besides ``job``."""
        return tuple(label for label in self.labels if label != _JOB)

    def expand(self, labels: Iterable[str]) -> tuple[str, ...]:
        """Replace ``job`` in a list of labels by all identity labels."""
        named = [*labels]
        if _JOB not in named:
            return tuple(named)
        return tuple(
            each
            for label in named
            for each in (self.labels if label == _JOB else (label,))
            if label == _JOB or each not in self.labels
        )

    def query(self, promql: str) -> str:
        """Render a query: groupings, joins and selectors of ``$job``."""
        return _CHOSEN.sub(self._chosen, _GROUPING.sub(self._grouping, promql))

    def template(self, text: str) -> str:
        """Render the queries in a template of an annotation.

        Raises:
            ValueError: A lookup has another number of values than of places for them.
        """
        return _LOOKUP.sub(self._lookup, self.query(text)) if self.further else text

    def summary(self, text: str) -> str:
        """Render the first sentence of an alert, which names the service."""
        further = ", ".join(f"{{{{ $labels.{label} }}}}" for label in self.further)
        named = text.replace(_OF_JOB, f"{_OF_JOB} ({further})", 1) if further else text
        return self.template(named)

    def _grouping(self, found: re.Match[str]) -> str:
        labels = [name.strip() for name in found[3].split(",")]
        if _JOB not in labels or not self.further:
            return found[0]
        return f"{found[1]}{found[2]}({', '.join(self.expand(labels))})"

    def _chosen(self, found: re.Match[str]) -> str:
        return ",".join(
            f'{label}{found[1]}"{found[2].replace("$job", f"${label}")}"' for label in self.labels
        )

    def _lookup(self, found: re.Match[str]) -> str:
        places = _PLACEHOLDER.findall(found[1])
        values = found[2].split()
        if len(places) != len(values):
            raise ValueError(f"{found[0]}: {len(places)} places for {len(values)} values")
        arguments = [
            each
            for place, value in zip(places, values, strict=True)
            for each in self._values(place, value)
        ]
        text = _PLACEHOLDER.sub(self._place, found[1])
        return f'printf "{text}"' + "".join(f" {value}" for value in arguments)

    def _place(self, found: re.Match[str]) -> str:
        if found[1] != _JOB:
            return found[0]
        return ",".join(f"{label}=%q" for label in self.labels)

    def _values(self, place: str, value: str) -> tuple[str, ...]:
        if place != _JOB:
            return (value,)
        return tuple(f"{value.removesuffix(_JOB)}{label}" for label in self.labels)


BY_JOB = Identity()
"""The default."""
