"""The other processes on the same database: who cannot reach Redis asks them to tell it.

A process that is cut off from Redis cannot drop there what it is about to change, while others go
on serving it. So it calls them through the database, which both reach, before it commits
(``NOTIFY``, on a connection of its own). Whoever hears it tells Redis in its stead, or else trusts
Redis no more until it has told it, and answers which. PostgreSQL only: SQLite has no such call.

It takes a session of the server. Behind a pooler there is none to keep: nobody is called or heard
there, and what is owed is found by looking into the table more often.
"""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from service.cache.cache import Cache
from service.cache.core.store import Intent

log = logging.getLogger(__name__)

CHANNEL = "cache_outbox"
OWED = "owed"
"""What a transaction says that has written into the table: heard when it is committed."""
NAME = "service cache"
"""How their connections are called in ``pg_stat_activity``: who is called is known from there."""
LONGEST_CALL = 7_000
"""Letters; PostgreSQL takes 8,000 bytes, and what is not ASCII is escaped."""
CALLS_AT_ONCE = 100
"""So many are acted on; what comes beyond that is found in the table."""
PING_SECONDS = 1.0
PAUSE_SECONDS = 0.5

_CALL = """
SELECT pid, pg_notify($1, $2) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $3
"""


class NoSessionError(Exception):
    """The connection leads to a pooler."""


class Question:
    """Asked, and not yet answered by all who were asked.

    Args:
        silent: Of whom nobody waits for an answer.
    """

    def __init__(self, silent: set[int]) -> None:
        self._silent = silent
        self._asked: set[int] | None = None
        self._answered: set[int] = set()
        self.settled = asyncio.Event()

    def ask(self, asked: set[int]) -> None:
        """Say who was asked; some may have answered already."""
        self._asked = asked
        self._look()

    def answer(self, who: int, *, told: bool) -> None:
        """Take an answer; that one has told Redis is enough."""
        self._answered.add(who)
        if told:
            self.settled.set()
        self._look()

    @property
    def missing(self) -> set[int]:
        """Who has not answered."""
        return (self._asked or set()) - self._answered

    def _look(self) -> None:
        if self._asked is not None and self.missing <= self._silent:
            self.settled.set()


class Neighbours:
    """Calls them, and does what they ask for.

    Args:
        engine: Of a PostgreSQL; one connection is taken out of its pool and kept.
        cache: To tell what others cannot.
        owed: Called when there is something in the table.
    """

    def __init__(self, engine: AsyncEngine, cache: Cache, owed: Callable[[], None]) -> None:
        self._engine = engine
        self._cache = cache
        self._owed = owed
        self._connection: Any = None
        self._mine = 0
        self._turn = asyncio.Lock()
        self._questions: dict[str, Question] = {}
        self._silent: set[int] = set()
        self._acting: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether calls are heard."""
        return self._connection is not None

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._task = asyncio.get_running_loop().create_task(self._listen())

    async def close(self) -> None:
        """Stop."""
        tasks = [task for task in (self._task, *self._acting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- Calling -----------------------------------------------------------------------------

    async def ask(self, intent: Intent, seconds: float) -> None:
        """Have Redis told of an intent; call it before the commit. Never raises.

        Returns once somebody has told it, or nobody who reaches it trusts it any more, and after
        so many seconds in any case. Who was silent for so long is not waited for again.
        """
        name = intent.token.hex()
        question = self._questions[name] = Question(self._silent)
        try:
            async with asyncio.timeout(seconds):
                asked = await self._call("intend", name, _marks_of(intent, self._cache))
                self._silent &= asked
                question.ask(asked - {self._mine})
                await question.settled.wait()
        except TimeoutError:
            self._silent |= question.missing
        except Exception as error:  # noqa: BLE001 - whatever it is: the table holds it all the same
            log.info("other processes cannot be called: %s: %s", type(error).__name__, error)
        finally:
            del self._questions[name]

    def release(self, intent: Intent) -> None:
        """Say that the write is committed, in the background: the intent ends by itself, too."""
        self._do(self._release(intent))

    @staticmethod
    def announce(session: Session) -> None:
        """Have the transaction say, when it is committed, that something is owed."""
        session.execute(select(func.pg_notify(CHANNEL, OWED)))

    async def _call(self, what: str, *rest: Any, channel: str = CHANNEL) -> set[int]:
        async with self._turn:
            if self._connection is None:
                return set()
            text = json.dumps([what, *rest])
            return {row["pid"] for row in await self._connection.fetch(_CALL, channel, text, NAME)}

    # -- Hearing -----------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connected() as lost:
                    self._owed()  # nobody listened until now
                    while not lost.is_set():
                        with suppress(TimeoutError):
                            async with asyncio.timeout(PING_SECONDS):
                                await lost.wait()
                        async with self._turn, asyncio.timeout(PING_SECONDS):
                            await self._connection.execute("SELECT 1")
            except NoSessionError:
                log.info("calls of other processes are not heard: a pooler passes no NOTIFY on")
                return
            except Exception as error:  # noqa: BLE001 - whatever it is: it is tried again
                log.info("calls of other processes are not heard: %s", error)
            await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - spread

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncio.Event]:
        lost = asyncio.Event()
        async with self._engine.connect() as held:
            connection: Any = (await held.get_raw_connection()).driver_connection
            if not connection.keeps_session:
                raise NoSessionError
            await held.run_sync(Connection.detach)  # the pool makes itself another one
            connection.add_termination_listener(lambda _connection: lost.set())
            try:
                await connection.execute(f"SET application_name = '{NAME}'")
                self._mine = connection.get_server_pid()
                await connection.add_listener(f"{CHANNEL}_{self._mine}", self._hear)
                await connection.add_listener(CHANNEL, self._hear)
                self._connection = connection
                yield lost
            finally:
                self._connection = None
                connection.terminate()

    def _hear(self, _connection: object, who: int, _channel: str, text: str) -> None:
        self._silent.discard(who)
        if text == OWED:
            self._owed()
        elif who != self._mine:
            with suppress(ValueError, TypeError):  # another release's, or nobody's of ours
                what, name, rest = json.loads(text)
                self._act(who, what, str(name), rest)

    def _act(self, who: int, what: str, name: str, rest: Any) -> None:
        if what == "answer":
            if question := self._questions.get(name):
                question.answer(who, told=bool(rest))
            return
        marks = tuple(self._cache.mark(str(mark), whole=bool(whole)) for mark, whole in rest)
        intent = Intent(marks, token=bytes.fromhex(name))
        acts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "intend": lambda: self._intend(who, intent),
            "release": lambda: self._cache.release(intent),
        }
        if what in acts:
            self._do(acts[what]())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._acting) >= CALLS_AT_ONCE:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _release(self, intent: Intent) -> None:
        with suppress(Exception):
            await self._call("release", intent.token.hex(), _marks_of(intent, self._cache))

    async def _intend(self, who: int, intent: Intent) -> None:
        told = await self._cache.intend(*intent.marks, token=intent.token)
        with suppress(Exception):
            name = intent.token.hex()
            await self._call("answer", name, told.delivered, channel=f"{CHANNEL}_{who}")


def _marks_of(intent: Intent, cache: Cache) -> list[tuple[str, bool]]:
    marks = [(mark.name, mark.whole) for mark in intent.marks]
    if len(json.dumps(marks)) > LONGEST_CALL:
        return [(mark.name, mark.whole) for mark in cache.everything]
    return marks
