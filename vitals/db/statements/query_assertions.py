"""Test assertions on the number of statements and on N+1."""

from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlalchemy import Engine, event

from vitals.db.statements import callsite
from vitals.db.statements.fingerprint import Fingerprints
from vitals.db.statements.statement_stats import CallStats

_EVENT = "before_cursor_execute"


class SentStatement(NamedTuple):
    """A statement with its call site."""

    text: str
    source: str


class StatementRecorder(list[SentStatement]):
    """Context manager that records the statements of every engine of this process.

    It listens to engine events, so engines need not be instrumented. Statements of other threads
    count too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fingerprints = Fingerprints()
        self._stats: dict[str, CallStats] = {}

    def __enter__(self) -> Self:
        event.listen(Engine, _EVENT, self._record)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event.remove(Engine, _EVENT, self._record)

    def expect(self, at_most: int | None = None, *, no_n_plus_one: bool = False) -> None:
        """Assert a maximum number of statements so far, and optionally that none is an N+1.

        Raises:
            AssertionError: There were more, or an N+1; lists the statements with their call sites.
        """
        if at_most is not None and len(self) > at_most:
            raise AssertionError(
                f"{len(self)} statements were sent, at most {at_most} expected:\n{self}"
            )
        repeated = [t for t in self._stats.values() if t.detector and t.detector.found]
        if no_n_plus_one and repeated:
            found_texts = [
                f"{stats.calls} times from {found.source}: {stats.statement.text}\n"
                f"    instead: {found.advice(stats.statement.operation)}"
                for stats in repeated
                if stats.detector and (found := stats.detector.found)
            ]
            raise AssertionError("N+1 queries:\n  " + "\n  ".join(found_texts))

    def __str__(self) -> str:
        """One statement per line, each with its call site."""
        return "\n".join(
            f"  {number}. {sent.text}\n     {sent.source or 'no call site in the application'}"
            for number, sent in enumerate(self, 1)
        )

    def _record(
        self, connection: Any, _cursor: Any, sql: str, parameters: Any, context: Any, _many: Any
    ) -> None:
        statement = self._fingerprints.of(sql, connection.dialect.name)
        source = callsite.format_location(callsite.application_stack())
        self.append(SentStatement(statement.text, source))
        stats = self._stats.setdefault(statement.text, CallStats(statement))
        if stats.calls:
            stats.check_n_plus_one(sql, parameters, context)
        stats.calls += 1
