"""The selection of log lines: a query of LogQL as one of SQLite, for one partition."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stack.store.logs.logql import AnyLabelFilter, LabelFilter, LineFilter, LogQuery, Stage
from stack.store.otlp.line_rows import LABELS, label_name
from stack.store.partitions.terms import term, trigrams
from stack.store.query.literals import literal_of

LEVELS = frozenset({"level", "detected_level"})
STREAM_LABELS = LEVELS | {label_name(attribute) for attribute in LABELS}
"""Labels that are the same for all lines of a stream."""
_MAX_CANDIDATES = 20_000
"""Of more, the index is of no help: the newest lines are looked at one by one."""
_MAX_TRIGRAMS = 30
_MAX_STREAMS = 30_000
SOURCE = "line l JOIN stream s ON s.id = l.stream"


@dataclass(frozen=True)
class Stream:
    """A stream of a partition.

    Attributes:
        labels: Its labels.
        resource: Structured metadata of all of its lines.
    """

    labels: dict[str, str]
    resource: dict[str, str]

    @property
    def everything(self) -> dict[str, str]:
        """Both, with the level by its other name."""
        level = self.labels.get("level", "unknown")
        return {**self.resource, **self.labels, "detected_level": level}


@dataclass
class Selection:
    """A condition of SQLite.

    Attributes:
        streams: The streams that are selected, by id; nothing is found where there is none.
        where: The condition of lines `l` of streams `s`.
        parameters: Its parameters.
    """

    streams: dict[int, Stream]
    where: str = "1"
    parameters: list[str | float | int] = field(default_factory=list)


def select(database: sqlite3.Connection, query: LogQuery) -> Selection:
    """The selection of a query in one partition."""
    every = streams_of(database)
    chosen = {
        number: stream
        for number, stream in every.items()
        if all(m.holds(stream.everything.get(m.name, "")) for m in query.matchers)
    }
    selection = Selection(chosen)
    parts = []
    if len(chosen) < len(every):
        parts.append(f"l.stream IN ({','.join(map(str, list(chosen)[:_MAX_STREAMS]))})")
    for stage in query.stages:
        parts += _candidates(database, stage, selection)
        parts.append(_condition(stage, selection.parameters))
    if parts:
        selection.where = " AND ".join(parts)
    return selection


def streams_of(database: sqlite3.Connection) -> dict[int, Stream]:
    """All streams of a partition, by id."""
    return {
        number: Stream(json.loads(labels), json.loads(resource))
        for number, labels, resource in database.execute("SELECT id, labels, resource FROM stream")
    }


def label_expression(name: str) -> str:
    """The value of a label or of structured metadata, empty where there is none."""
    if name == "trace_id":
        return "coalesce(l.trace_id, '')"
    if name in LEVELS:
        return "json_extract(s.labels, '$.level')"
    path = f"'$.\"{name}\"'"  # a name has letters, digits and underscores only
    sources = ("l.metadata", "s.resource", "s.labels")
    return f"coalesce({', '.join(f'json_extract({each}, {path})' for each in sources)}, '')"


def labels_of(stream: Stream, metadata: str, trace_id: str | None) -> Mapping[str, str]:
    """The structured metadata of a line."""
    found = {**stream.resource, **json.loads(metadata)}
    if trace_id:
        found["trace_id"] = trace_id
    found["detected_level"] = stream.labels.get("level", "unknown")
    return found


def _condition(stage: Stage, parameters: list[str | float | int]) -> str:
    if isinstance(stage, LineFilter):
        contains = "matches(l.body, ?)" if "~" in stage.operator else "instr(l.body, ?) > 0"
        parameters += stage.values
        joined = f"({' OR '.join([contains] * len(stage.values))})"
        return f"NOT {joined}" if stage.operator.startswith("!") else joined
    return _label_condition(stage, parameters)


def _label_condition(node: AnyLabelFilter, parameters: list[str | float | int]) -> str:
    if not isinstance(node, LabelFilter):
        parts = [_label_condition(part, parameters) for part in node.parts]
        return f"({f' {node.operator.upper()} '.join(parts)})"
    value: str | float = node.value
    if node.name == "trace_id" and node.operator == "=" and isinstance(value, str) and value:
        parameters.append(value)
        return "l.trace_id = ?"  # by its index
    expression = label_expression(node.name)
    parameters.append(f"^(?s:{value})$" if "~" in node.operator else value)
    if "~" in node.operator:
        return f"{'NOT ' if node.operator == '!~' else ''}matches({expression}, ?)"
    if isinstance(value, float):
        return f"number({expression}) {node.operator} ?"
    return f"{expression} {node.operator} ?"


def _candidates(database: sqlite3.Connection, stage: Stage, selection: Selection) -> Sequence[str]:
    """Conditions by which an index finds the few lines that may fulfil a stage."""
    table, query = "", ""
    if isinstance(stage, LineFilter):
        grams = trigrams(_contained(stage))[:_MAX_TRIGRAMS]
        table, query = "line_gram", " AND ".join(_quoted(gram) for gram in grams)
    elif isinstance(stage, LabelFilter) and stage.operator == "=" and isinstance(stage.value, str):
        table, query = "line_term", _quoted(term("", stage.name, stage.value))
        of_stream = any(
            each.everything.get(stage.name) == stage.value for each in selection.streams.values()
        )
        if stage.name == "trace_id" or stage.name in LEVELS or not stage.value or of_stream:
            return ()
    if not query:
        return ()
    count = f"SELECT count(*) FROM (SELECT rowid FROM {table} WHERE {table} MATCH ? LIMIT ?)"  # noqa: S608 - our names
    (found,) = database.execute(count, (query, _MAX_CANDIDATES + 1)).fetchone()
    if found > _MAX_CANDIDATES:
        return ()
    selection.parameters.append(query)
    return (f"l.id IN (SELECT rowid FROM {table} WHERE {table} MATCH ?)",)  # noqa: S608 - our names


def _contained(stage: LineFilter) -> str:
    """A text that every line has that fulfils a filter, in whichever case; or nothing."""
    if len(stage.values) > 1 or stage.operator.startswith("!"):
        return ""
    (text,) = stage.values
    return text if stage.operator == "|=" else literal_of(text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
