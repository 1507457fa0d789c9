"""Loop watch: notices that an event loop does not turn, and looks at what its thread does.

Another thread looks about 25 times a second whether a callback runs. If one does, the loop is
asked to note when it turns, and until it has, the thread looks again and again. An idle loop is not
woken. While nothing is served, it looks 10 times a second, and at once when a request begins.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextvars import Context
from time import perf_counter, process_time
from types import CodeType, FrameType
from typing import Any, NamedTuple, Protocol

from vitals.asgi.activity import Activity
from vitals.asgi.request_context import RequestContext
from vitals.profiling.evidence import Held, Sample, conclude, is_proved
from vitals.profiling.garbage import GarbageClock
from vitals.profiling.running_request import context_of, request_of, running_task
from vitals.profiling.stacks import Stack, greenlet_of_this_thread, read_stack
from vitals.saturation.run_queue import RunQueue, Times, times_of

PERIOD, PROOF = 0.8, 0.5
"""Shares of the threshold: between two looks; for which a line must be known to hold the loop to be
named."""
STEPS = (0.0125, 0.02, 0.05, 0.1)
"""Seconds between two looks at a loop that does not turn, as the block gets longer."""
_LOOKS_PER_STEP = 25
_MAX_SAMPLES = 400
_PAUSED = 0.25
QUIET, LINGER, ALERT = 0.1, 0.2, 10.0
"""Seconds: between two looks while nothing is served; for which they stay frequent once nothing is;
for which they do after a block, which may be of a timer that comes again."""
_RUN_ONCE: CodeType | None = getattr(
    getattr(asyncio.BaseEventLoop, "_run_once", None), "__code__", None
)
"""The function in which asyncio's own loop waits for events."""


class OpenBlock:
    """A block of the loop that a request is known to cause, while it goes on and after.

    Args:
        conclude: What held the loop until now.

    Attributes:
        request: The request.
        context: The context that it runs in.
        concluded: What held the loop; None while it goes on.
    """

    def __init__(
        self, conclude: Callable[[], list[Held]], request: RequestContext, context: Context
    ) -> None:
        self.request, self.context = request, context
        self.concluded: list[Held] | None = None
        self._conclude = conclude

    def held(self) -> list[Held]:
        """What has held the loop for the request, the longest first."""
        found = self._conclude() if self.concluded is None else self.concluded
        return [held for held in found if held.line is not None and held.request is self.request]


class Listener(Protocol):
    """Receives blocks, in the watching thread."""

    def proved(self, block: OpenBlock, /) -> None:
        """A request is known to block the loop, which goes on."""

    def blocked(self, held: list[Held], seconds: float, block: OpenBlock | None, /) -> None:
        """A block is over: what held the loop, and for how long it did not turn."""


class _Clocks(NamedTuple):
    """The clocks at a look, as they are read: most looks need nothing of them.

    Attributes:
        at: The time.
        loop_read: Of the loop's thread.
        process: Of the process.
        own_read: Of the looking thread.
    """

    at: float
    loop_read: bytes
    process: float
    own_read: bytes

    @property
    def loop(self) -> Times | None:
        """The times of the loop's thread."""
        return times_of(self.loop_read)

    @property
    def own(self) -> Times | None:
        """The times of the looking thread."""
        return times_of(self.own_read)


class LoopWatch:
    """Watches the running event loop; create it on its thread.

    Args:
        threshold: Seconds for which it may not turn.
        garbage: When the collector ran.
        wake: Has the looking thread look now.

    Attributes:
        loop: The loop.
        listeners: Receive its blocks; may grow.
        activities: What the applications on it serve; may grow.
    """

    def __init__(self, threshold: float, garbage: GarbageClock, wake: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.listeners: list[Listener] = []
        self.activities: list[Activity] = []
        self._wake = wake
        self.threshold = threshold
        self._garbage = garbage
        self._queue = RunQueue()
        self._context = Context()
        self._thread = threading.get_ident()
        self._greenlet: Any = None
        self._base: CodeType | None = None
        self._asked = self._answered = 0
        self._turned = self._next_look = self._began = perf_counter()
        self._quiet_from = self._turned + LINGER
        self._turned_times: Times | None = None
        self._idle = _Clocks(self._turned, self._queue.read(), process_time(), b"")
        self._last = self._idle
        self._samples: list[Sample] = []
        self._callback: Any = None
        self._root: FrameType | None = None
        self._is_task = False
        self._open: OpenBlock | None = None
        self._ask()

    def close(self) -> None:
        """End; on the loop's thread."""
        self._queue.close()

    def look(self, own: RunQueue) -> float | None:
        """Look what the loop does; returns when to look again. In the watching thread.

        None if it is closed.

        Args:
            own: The run queue of the watching thread.
        """
        now = perf_counter()
        if now < self._next_look and not (self._samples and self._has_turned):
            return self._next_look
        if not self.loop.is_running():
            self._forget()
            if self.loop.is_closed():
                self._queue.close()
                self.activities.clear()
                self.listeners.clear()  # of applications that were served without their lifespan
                return None
            self._next_look = now + _PAUSED
        elif self._samples and self._has_turned:
            self._conclude()
            self._rest(own)
        else:
            self._sample(own)
        return self._next_look

    @property
    def thread(self) -> int:
        """The thread that the loop runs in, as ``threading.get_ident`` says."""
        return self._thread

    def waits(self, frame: FrameType) -> bool:
        """Whether the loop waits for events, by the innermost frame of its thread."""
        outer = frame.f_back
        return frame.f_code is self._base or (
            outer is not None and outer.f_code is _RUN_ONCE and frame.f_code is not self._base
        )

    def running_context(self) -> Context | None:
        """The context of the task that runs; None between tasks."""
        task = running_task(self.loop)
        return None if task is None else context_of(task)

    @property
    def _has_turned(self) -> bool:
        """Whether the loop has turned since it was asked to."""
        return self._answered == self._asked

    def _ask(self) -> None:
        """Have the loop note when it turns."""
        self._asked += 1
        self.loop.call_soon_threadsafe(self._turn, self._asked, context=self._context)

    def _turn(self, asked: int) -> None:
        """Note that the loop turns; on the loop."""
        self._turned_times, self._turned = self._queue.times(), perf_counter()
        caller = sys._getframe(1)  # noqa: SLF001  # what inspect.currentframe is
        if caller.f_code is not self._base:
            self._base, self._thread = caller.f_code, threading.get_ident()
            self._greenlet = greenlet_of_this_thread()
        self._answered = asked

    def _rest(self, own: RunQueue) -> None:
        """Note that nothing held the loop at this moment."""
        self._idle = self._last = self._clocks(own)
        at = self._idle.at
        self._next_look = at + PERIOD * self.threshold
        if any(each.is_serving for each in self.activities):
            self._quiet_from = max(self._quiet_from, at + LINGER)
        elif at >= self._quiet_from and self._next_look < at + QUIET:
            self._next_look = at + QUIET
            for each in self.activities:
                each.on_begin = self._begin
                if each.is_serving:  # it has begun meanwhile
                    self._next_look = at

    def _begin(self) -> None:
        """Look at once: a request begins; on the loop."""
        for each in self.activities:
            each.on_begin = None
        self._next_look = self._began = perf_counter()
        self._quiet_from = self._began + LINGER
        self._wake()

    def _clocks(self, own: RunQueue) -> _Clocks:
        return _Clocks(perf_counter(), self._queue.read(), process_time(), own.read())

    def _sample(self, own: RunQueue) -> None:
        """Look at the callback that runs now, if one does."""
        wanted, last = self._next_look, self._last
        since = max(last.at, min(self._began, wanted))  # nothing of before holds the loop
        # First of all: whatever gives the interpreter's lock away lets the loop go on.
        stack, taken = self._read(), perf_counter()
        context = context_of(self._callback) if stack is not None and self._is_task else None
        request = request_of(context)
        if stack is None and not self._samples and self._has_turned:
            self._rest(own)
            return
        now = self._clocks(own)
        if self._samples and self._has_turned:
            self._next_look = now.at  # it turned just now, and the stack may be of later
            return
        ran, starved = None, 0.0
        of_loop, before = now.loop, last.loop
        if of_loop is not None and before is not None:
            ran, starved = of_loop.ran - before.ran, of_loop.waited - before.waited
        sample = Sample(
            *(since, wanted, taken, None if stack is None else self._callback, stack, ran),
            starved=starved,
            others_ran=max(0.0, now.process - last.process - (ran or 0.0)),
            waited=_before_asking(last.own, now.own),
            request=request,
            context=context,
        )
        if not self._samples and self._has_turned:
            self._ask()
        if len(self._samples) < _MAX_SAMPLES:
            self._samples.append(sample)
        self._last = now
        if self._open is None and sample.request is not None:
            self._tell(sample)
        step = STEPS[min(len(self._samples) // _LOOKS_PER_STEP, len(STEPS) - 1)]
        self._next_look = now.at + step

    def _tell(self, sample: Sample) -> None:
        """Tell of a request that is known to block the loop."""
        samples = self._samples
        if sample.context is not None and is_proved(samples, PROOF * self.threshold):
            start, before = self._start, self._idle.loop

            def held() -> list[Held]:
                now, waited = self._queue.times(), 0.0
                if now is not None and before is not None:
                    waited = now.waited - before.waited
                return self._held(list(samples), start, perf_counter(), waited)

            self._open = OpenBlock(held, sample.request, sample.context)
            for listener in list(self.listeners):
                listener.proved(self._open)

    @property
    def _start(self) -> float:
        """When the block that is looked at began, give or take half a period."""
        first = self._samples[0]
        return (max(first.since, self._idle.at) + min(first.wanted, first.taken)) / 2

    def _held(self, samples: list[Sample], start: float, end: float, waited: float) -> list[Held]:
        return conclude(
            *(samples, start, end),
            collected=self._garbage.within,
            waited=waited,
            min_proof=PROOF * self.threshold,
        )

    def _read(self) -> Stack | None:
        """The stack of the callback that runs now; None if none does."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # there is no other way
        if frame is None or self.waits(frame):
            return None
        read = read_stack(frame, self._base, getattr(self._greenlet, "gr_frame", None))
        if read is None:
            return None
        stack, root = read
        # A frame may be where another one was: this one is kept, but only until the next look.
        task = running_task(self.loop)
        self._is_task = task is not None
        if task is not None:
            self._callback, self._root = task, None
        elif root is not self._root:
            self._callback, self._root = object(), root
        return stack

    def _conclude(self) -> None:
        """Report the block that is over, if it was one."""
        samples, start, until, block = self._samples, self._start, self._turned, self._open
        before, after, waited = self._idle.loop, self._turned_times, 0.0
        self._forget()
        if before is not None and after is not None:
            waited = after.waited - before.waited
        seconds = until - start - waited
        if seconds >= self.threshold:
            self._quiet_from = max(self._quiet_from, until + ALERT)
        held = self._held(samples, start, until, waited) if seconds >= self.threshold else []
        if block is not None:
            block.concluded = held
        for listener in list(self.listeners) if held else ():  # else its thread had no CPU
            listener.blocked(held, seconds, block)

    def _forget(self) -> None:
        self._root = self._callback = self._open = None
        self._is_task = False
        self._samples = []


def _before_asking(before: Times | None, after: Times | None) -> float:
    """Seconds for which a thread waited for a CPU before it asked for the interpreter's lock.

    It asks when it wakes and again after 5 ms, for which it needs a CPU twice; once it has asked,
    the thread that has the lock gives it away as soon as it can.
    """
    if before is None or after is None:
        return 0.0
    return 2 * (after.waited - before.waited) / max(2, after.slices - before.slices)
