"""TraceQL: the subset that is understood, parsed.

    { resource.service.name = "api" && span.http.route = "/x" && status = error && duration > 1s }

Spansets can be joined, `{ ... } && { ... }` and `||`, and followed by `| select(span.a, span.b)`.
Fields: `span.`, `resource.`, `event.` and `.` (span or resource) with an attribute's name, quoted
where it has other letters; `name`, `status`, `statusMessage`, `kind`, `duration`, `rootName`,
`rootServiceName`, `traceDuration`, also as `span:name` and `trace:rootName`; `event:name`,
`trace:id`, `span:id`. Whatever else there is in TraceQL is refused.

Source: https://grafana.com/docs/tempo/latest/traceql/construct-traceql-queries/
"""

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from stack.store.query.scanner import Scanner, compile_regex

LANGUAGE = "TraceQL"
Value = str | int | float | bool | None
_OPERATORS = ("=~", "!~", "!=", ">=", "<=", "=", ">", "<")
_REGEX = ("=~", "!~")
_ATTRIBUTE = re.compile(r"(?:[^\s\"{}()=!<>~|&,]|\"(?:[^\"\\]|\\.)*\")+")
_INTRINSICS = {
    "name": "name",
    "status": "status",
    "statusMessage": "statusMessage",
    "kind": "kind",
    "duration": "duration",
    "rootName": "rootName",
    "rootServiceName": "rootServiceName",
    "traceDuration": "traceDuration",
    "nestedSetParent": "nestedSetParent",
    "span:name": "name",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "span:kind": "kind",
    "span:duration": "duration",
    "span:id": "span:id",
    "span:parentID": "span:parentID",
    "trace:id": "trace:id",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "trace:duration": "traceDuration",
    "event:name": "event:name",
}
INTRINSICS = tuple(_INTRINSICS)
_DURATIONS = frozenset({"duration", "traceDuration"})
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_ENUMS = {"status": ("unset", "ok", "error"), "kind": _KINDS}
_SCOPES = ("span", "resource", "event")


@dataclass(frozen=True)
class Field:
    """What a condition asks for.

    Attributes:
        scope: `span`, `resource`, `event`, `any` (span or resource) or `intrinsic`.
        name: The attribute, or the intrinsic by its first name above.
    """

    scope: str
    name: str

    def __str__(self) -> str:
        return {"intrinsic": "", "any": "."}.get(self.scope, f"{self.scope}.") + self.name


@dataclass(frozen=True)
class Condition:
    """A comparison; durations are in nanoseconds, `None` is `nil`."""

    field: Field
    operator: str
    value: Value
    matches: object = dataclass_field(default=None, compare=False)
    """The compiled pattern of `=~` and `!~`."""


@dataclass(frozen=True)
class Junction:
    """Several expressions, of which all (`&&`) or any (`||`) hold."""

    operator: str
    parts: tuple["Filter", ...]


Filter = Condition | Junction
ALL = Junction("&&", ())
"""`{ }`, which every span fulfils."""


@dataclass(frozen=True)
class Spanset:
    """Spans that fulfil a filter."""

    filter: Filter


@dataclass(frozen=True)
class SpansetJunction:
    """Traces with spans of all (`&&`) or any (`||`) of several spansets."""

    operator: str
    parts: tuple["Spansets", ...]


Spansets = Spanset | SpansetJunction


@dataclass(frozen=True)
class TraceQuery:
    """A query.

    Attributes:
        spansets: Which traces, and which of their spans.
        selected: Attributes to add to the spans of the result.
    """

    spansets: Spansets
    selected: tuple[Field, ...] = ()


def parse(text: str) -> TraceQuery:
    """Parse a query.

    Raises:
        QueryError: It is not understood.
    """
    scanner = Scanner(text, LANGUAGE)
    spansets = _spansets(scanner)
    selected: list[Field] = []
    while scanner.accept("|"):
        if not scanner.keyword("select"):
            raise scanner.fail("after | only select(...) is supported here")
        scanner.expect("(")
        selected.append(_field(scanner))
        while scanner.accept(","):
            selected.append(_field(scanner))
        scanner.expect(")")
    if scanner.keyword("with"):  # Grafana's hint; the newest are what is always found
        for symbol in ("(", "most_recent", "=", "true", ")"):
            scanner.expect(symbol)
    if not scanner.ended:
        raise scanner.fail("not supported here; spansets are joined by && and ||")
    return TraceQuery(spansets, tuple(selected))


def parse_field(text: str) -> Field:
    """Parse a field alone.

    Raises:
        QueryError: It is none.
    """
    scanner = Scanner(text, LANGUAGE)
    found = _field(scanner)
    if not scanner.ended:
        raise scanner.fail("expected one field")
    return found


def conditions(node: Spansets | Filter) -> list[Condition]:
    """All comparisons of a query."""
    if isinstance(node, Condition):
        return [node]
    if isinstance(node, Spanset):
        return conditions(node.filter)
    return [each for part in node.parts for each in conditions(part)]


def _spansets(scanner: Scanner) -> Spansets:
    parts = [_all_spansets(scanner)]
    while scanner.accept("||"):
        parts.append(_all_spansets(scanner))
    return parts[0] if len(parts) == 1 else SpansetJunction("||", tuple(parts))


def _all_spansets(scanner: Scanner) -> Spansets:
    parts = [_spanset(scanner)]
    while scanner.accept("&&"):
        parts.append(_spanset(scanner))
    return parts[0] if len(parts) == 1 else SpansetJunction("&&", tuple(parts))


def _spanset(scanner: Scanner) -> Spansets:
    if scanner.accept("("):
        inner = _spansets(scanner)
        scanner.expect(")")
        return inner
    scanner.expect("{")
    if scanner.accept("}"):
        return Spanset(ALL)
    found = _any(scanner)
    scanner.expect("}")
    return Spanset(found)


def _any(scanner: Scanner) -> Filter:
    parts = [_every(scanner)]
    while scanner.accept("||"):
        parts.append(_every(scanner))
    return parts[0] if len(parts) == 1 else Junction("||", tuple(parts))


def _every(scanner: Scanner) -> Filter:
    parts = [_single(scanner)]
    while scanner.accept("&&"):
        parts.append(_single(scanner))
    return parts[0] if len(parts) == 1 else Junction("&&", tuple(parts))


def _single(scanner: Scanner) -> Filter:
    if scanner.accept("("):
        inner = _any(scanner)
        scanner.expect(")")
        return inner
    before = scanner.at
    if scanner.keyword("true"):
        return ALL
    scanner.at = before
    return _condition(scanner)


def _condition(scanner: Scanner) -> Condition:
    field_ = _field(scanner)
    operator = scanner.accept(*_OPERATORS)
    if not operator:
        raise scanner.fail(f"expected one of {' '.join(_OPERATORS)}")
    value = _value(scanner, field_)
    if operator in _REGEX:
        if not isinstance(value, str):
            raise scanner.fail(f"{operator} needs a quoted regular expression")
        return Condition(field_, operator, value, compile_regex(value, LANGUAGE))
    if field_.name in _DURATIONS and field_.scope == "intrinsic" and isinstance(value, str | bool):
        raise scanner.fail(f"{field_} is compared with a duration, such as 250ms")
    return Condition(field_, operator, value)


def _field(scanner: Scanner) -> Field:
    before = scanner.at
    name = scanner.match(_ATTRIBUTE)
    if name in _INTRINSICS:
        return Field("intrinsic", _INTRINSICS[name])
    scope, dot, attribute = name.partition(".")
    if dot and attribute and scope in (*_SCOPES, ""):
        return Field(scope or "any", re.sub(r'"((?:[^"\\]|\\.)*)"', r"\1", attribute))
    scanner.at = before
    raise scanner.fail("expected a field, such as span.http.route, resource.service.name or name")


def _value(scanner: Scanner, field_: Field) -> Value:
    if (text := scanner.string()) is not None:
        return text
    if (duration := scanner.duration()) is not None:
        return duration
    if (number := scanner.number()) is not None:
        return number
    before = scanner.at
    word = scanner.word()
    if word in {"true", "false"}:
        return word == "true"
    if word == "nil":
        return None
    known = _ENUMS.get(field_.name, ()) if field_.scope == "intrinsic" else ()
    if word in known:
        return word
    scanner.at = before
    words = f" or one of {' '.join(known)}" if known else ""
    raise scanner.fail(f"expected a quoted string, a number, a duration, true, false{words}")


def of_tags(tags: str, shortest: int, longest: int) -> TraceQuery:
    """The query of the older form: `tags=http.route=/x service.name="a b"`, and durations.

    Args:
        tags: Pairs in logfmt.
        shortest: Of a trace's span, in nanoseconds; 0 for no bound.
        longest: The same.

    Raises:
        QueryError: A tag is not a pair.
    """
    scanner = Scanner(tags, "tags")
    parts: list[Filter] = []
    while not scanner.ended:
        name = scanner.match(re.compile(r"[^\s=\"]+"))
        scanner.expect("=")
        quoted = scanner.string()
        value = scanner.match(re.compile(r"[^\s\"]+")) if quoted is None else quoted
        if not name or (quoted is None and not value):
            raise scanner.fail("expected a tag, such as http.route=/orders")
        intrinsic = name in {"name", "status"}
        where = Field("intrinsic", name) if intrinsic else Field("any", name)
        options: list[Filter] = [Condition(where, "=", value)]
        if not intrinsic and value.isdecimal():
            options.append(Condition(where, "=", int(value)))
        parts.append(Junction("||", tuple(options)))
    duration = Field("intrinsic", "duration")
    if shortest:
        parts.append(Condition(duration, ">=", shortest))
    if longest:
        parts.append(Condition(duration, "<=", longest))
    return TraceQuery(Spanset(Junction("&&", tuple(parts))))
