r"""LogQL: the subset that is understood, parsed.

    {service_name="api", level=~"warn|error"} |= "timeout" !~ "retry \d+" | trace_id = "..."
    sum by (level) (count_over_time({service_name="api"} |= "timeout" [1m]))

Stream selectors with `= != =~ !~`; line filters `|= != |~ !~`, with `or`; label filters on labels
and structured metadata, joined by `and`, `or` and commas; `| drop`. Of metrics: `count_over_time`,
`rate`, `bytes_over_time`, `bytes_rate`, alone or in `sum`, `by` or `without` labels. Whatever else
there is in LogQL is refused.

Source: https://grafana.com/docs/loki/latest/query/
"""

import re
from dataclasses import dataclass

from stack.store.query.scanner import QueryError, Scanner, check_regex, compile_regex

LANGUAGE = "LogQL"
FUNCTIONS = ("count_over_time", "rate", "bytes_over_time", "bytes_rate")
_MATCHERS = ("=~", "!~", "!=", "=")
_LINE_FILTERS = ("|=", "|~", "!=", "!~")
_COMPARISONS = ("=~", "!~", "!=", ">=", "<=", "==", "=", ">", "<")
_RANGE = re.compile(r"\[\s*([0-9a-zµ.]+)\s*\]")
_VECTOR = re.compile(r"vector\((\d+)\)(?:\s*\+\s*vector\((\d+)\))?")
_STAGES = "line filters, label filters and drop are supported here"


@dataclass(frozen=True)
class Matcher:
    """A condition of a stream's label."""

    name: str
    operator: str
    value: str

    def holds(self, value: str) -> bool:
        """Whether a label fulfils it; one that is not there is empty."""
        if self.operator in {"=", "!="}:
            return (value == self.value) == (self.operator == "=")
        return compile_regex(self.value, LANGUAGE)(value) == (self.operator == "=~")


@dataclass(frozen=True)
class LineFilter:
    """A condition of a line: contains one of several texts, or matches one of several patterns."""

    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class LabelFilter:
    """A condition of a label or of structured metadata."""

    name: str
    operator: str
    value: str | float


@dataclass(frozen=True)
class LabelJunction:
    """Several conditions, of which all (`and`) or any (`or`) hold."""

    operator: str
    parts: tuple["AnyLabelFilter", ...]


AnyLabelFilter = LabelFilter | LabelJunction
Stage = LineFilter | LabelFilter | LabelJunction


@dataclass(frozen=True)
class LogQuery:
    """Which lines.

    Attributes:
        matchers: Conditions of the stream.
        stages: Conditions of lines.
        dropped: Labels that the result does not have.
    """

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricQuery:
    """How many lines, in windows of time.

    Attributes:
        function: One of `FUNCTIONS`.
        logs: Which lines.
        window: Nanoseconds.
        by: Labels of the sums; `None` for a series of each stream.
        without: Labels that are summed over, of all those of the stream.
    """

    function: str
    logs: LogQuery
    window: int
    by: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Constant:
    """`vector(1)+vector(1)`, by which Grafana tests a data source."""

    value: float


def parse(text: str) -> LogQuery | MetricQuery | Constant:
    """Parse a query.

    Raises:
        QueryError: It is not understood.
    """
    scanner = Scanner(text, LANGUAGE)
    if constant := _VECTOR.fullmatch(text.strip()):
        return Constant(float(int(constant.group(1)) + int(constant.group(2) or 0)))
    found = _logs(scanner) if scanner.text.startswith("{", scanner.at) else _metric(scanner)
    if not scanner.ended:
        raise scanner.fail(f"not supported here; {_STAGES}")
    return found


def parse_selector(text: str) -> LogQuery:
    """Parse a query that is no metric.

    Raises:
        QueryError: It is one, or is not understood.
    """
    found = parse(text)
    if not isinstance(found, LogQuery):
        raise QueryError(f'{LANGUAGE}: expected a selector of log lines, such as {{level="error"}}')
    return found


def _metric(scanner: Scanner) -> MetricQuery:
    if scanner.accept("("):
        inner = _metric(scanner)
        scanner.expect(")")
        return inner
    word = scanner.word()
    if word == "sum":
        labels = _grouping(scanner)
        scanner.expect("(")
        inner = _metric(scanner)
        scanner.expect(")")
        by, without = labels or _grouping(scanner) or ((), None)
        if inner.by is not None or inner.without is not None:
            raise scanner.fail("sum of a sum is not supported here")
        return MetricQuery(inner.function, inner.logs, inner.window, by, without)
    if word not in FUNCTIONS:
        raise scanner.fail(
            f"{word or 'this'} is not supported here, sum, {', '.join(FUNCTIONS)} are"
        )
    scanner.expect("(")
    logs = _logs(scanner)
    window = scanner.match(_RANGE)
    nanoseconds = Scanner(window.strip("[ ]"), LANGUAGE).duration() if window else None
    if not nanoseconds or nanoseconds <= 0:
        raise scanner.fail("expected a window of time, such as [5m]")
    scanner.expect(")")
    return MetricQuery(word, logs, nanoseconds)


def _grouping(scanner: Scanner) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None] | None:
    word = scanner.keyword("by", "without")
    if not word:
        return None
    scanner.expect("(")
    names = _names(scanner)
    scanner.expect(")")
    return (names, None) if word == "by" else (None, names)


def _names(scanner: Scanner) -> tuple[str, ...]:
    names = []
    while name := scanner.word():
        names.append(name)
        if not scanner.accept(","):
            break
    return tuple(names)


def _logs(scanner: Scanner) -> LogQuery:
    matchers = _selector(scanner)
    stages: list[Stage] = []
    dropped: list[str] = []
    while not scanner.ended:
        if operator := scanner.accept(*_LINE_FILTERS):
            stages.append(_line_filter(scanner, operator))
        elif scanner.accept("|"):
            if scanner.keyword("drop"):
                dropped += _names(scanner)
            else:
                stages.append(_label_filters(scanner))
        else:
            break
    return LogQuery(matchers, tuple(stages), tuple(dropped))


def _selector(scanner: Scanner) -> tuple[Matcher, ...]:
    scanner.expect("{")
    matchers = []
    while name := scanner.word():
        operator = scanner.accept(*_MATCHERS)
        if not operator:
            raise scanner.fail(f"expected one of {' '.join(_MATCHERS)}")
        matchers.append(Matcher(name, operator, _quoted(scanner, operator)))
        if not scanner.accept(","):
            break
    scanner.expect("}")
    # As Loki: an expensive query is not written by mistake.
    if all(matcher.holds("") for matcher in matchers):
        raise QueryError(
            f'{LANGUAGE}: at least one label must have a value, such as {{service_name=~".+"}}'
        )
    return tuple(matchers)


def _quoted(scanner: Scanner, operator: str) -> str:
    value = scanner.string()
    if value is None:
        raise scanner.fail("expected a quoted text")
    return check_regex(value, LANGUAGE) if operator.endswith("~") else value


def _line_filter(scanner: Scanner, operator: str) -> LineFilter:
    values = [_quoted(scanner, operator)]
    while scanner.keyword("or"):
        values.append(_quoted(scanner, operator))
    return LineFilter(operator, tuple(values))


def _label_filters(scanner: Scanner) -> AnyLabelFilter:
    parts = [_every_label(scanner)]
    while scanner.keyword("or"):
        parts.append(_every_label(scanner))
    return parts[0] if len(parts) == 1 else LabelJunction("or", tuple(parts))


def _every_label(scanner: Scanner) -> AnyLabelFilter:
    parts = [_one_label(scanner)]
    while scanner.keyword("and") or scanner.accept(","):
        parts.append(_one_label(scanner))
    return parts[0] if len(parts) == 1 else LabelJunction("and", tuple(parts))


def _one_label(scanner: Scanner) -> AnyLabelFilter:
    if scanner.accept("("):
        inner = _label_filters(scanner)
        scanner.expect(")")
        return inner
    before = scanner.at
    name = scanner.word()
    operator = scanner.accept(*_COMPARISONS) if name else ""
    if not operator:
        scanner.at = before
        raise scanner.fail(_STAGES)
    text = scanner.string()
    if text is not None and operator in _MATCHERS:
        return LabelFilter(name, operator, check_regex(text, LANGUAGE) if "~" in operator else text)
    number = scanner.number()
    if number is None or "~" in operator:
        raise scanner.fail(f"expected a quoted text, or a number, after {operator}")
    return LabelFilter(name, "=" if operator == "==" else operator, float(number))
