"""The statements that a piece of code sends, for tests that hold it to a number."""

from types import TracebackType
from typing import Any, NamedTuple, Self

from sqlalchemy import Engine, event

from vitals.db.statements import callsite
from vitals.db.statements.fingerprint import Fingerprints
from vitals.db.statements.statement_stats import Tally

_EVENT = "before_cursor_execute"


class Sent(NamedTuple):
    """A statement that was sent."""

    text: str
    source: str


class Statements(list[Sent]):
    """Collects the statements of every engine of this process while it is entered.

    It hears engine events, so engines need not be instrumented; what other threads send counts too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._prints = Fingerprints()
        self._tallies: dict[str, Tally] = {}

    def __enter__(self) -> Self:
        event.listen(Engine, _EVENT, self._hear)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        event.remove(Engine, _EVENT, self._hear)

    def expect(self, at_most: int | None = None, *, no_n_plus_one: bool = False) -> None:
        """Hold what was sent so far to a number of statements.

        Raises:
            AssertionError: There were more, or one of them was sent once a row; it lists them
                with the lines that sent them.
        """
        if at_most is not None and len(self) > at_most:
            raise AssertionError(
                f"{len(self)} statements were sent, at most {at_most} expected:\n{self}"
            )
        repeated = [t for t in self._tallies.values() if t.watch and t.watch.found]
        if no_n_plus_one and repeated:
            told = [
                f"{tally.calls} times from {found.source}: {tally.statement.text}\n"
                f"    instead: {found.advice(tally.statement.operation)}"
                for tally in repeated
                if tally.watch and (found := tally.watch.found)
            ]
            raise AssertionError("a statement was sent once a row:\n  " + "\n  ".join(told))

    def __str__(self) -> str:
        """One statement a line, each with its source."""
        return "\n".join(
            f"  {number}. {sent.text}\n     {sent.source or 'from outside of the application'}"
            for number, sent in enumerate(self, 1)
        )

    def _hear(
        self, connection: Any, _cursor: Any, sql: str, parameters: Any, context: Any, _many: Any
    ) -> None:
        statement = self._prints.of(sql, connection.dialect.name)
        self.append(Sent(statement.text, callsite.line(callsite.stack())))
        tally = self._tallies.setdefault(statement.text, Tally(statement))
        if tally.calls:
            tally.look(sql, parameters, context)
        tally.calls += 1
