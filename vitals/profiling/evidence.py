"""Evidence of a block: samples of the loop's stack while it did not turn, and what they prove.

A line is named only if one callback is known to have held the loop with it. What cannot be proved
is counted under a cause instead: many short callbacks in one turn, another thread that held the
interpreter's lock, a collection, a machine that was paused.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vitals.metrics.catalogue import GC, MANY_CALLBACKS, OTHER_THREADS, UNKNOWN
from vitals.profiling.stacks import Line, Stack

LATE_SAMPLE = 0.008
"""Seconds by which a sample may be late: a thread that runs Python gives the interpreter's lock
away after 5 ms."""
_OWN_SHARE, _FOREIGN_SHARE = 0.7, 0.3
"""Of the time by which a sample was late: the share in which the loop's thread must have run to
have held the lock itself, and the most in which something else may have been the cause."""
_MAJORITY = 0.6
"""The share of a callback's time for which a function must be on the stack."""


@dataclass(frozen=True)
class Sample:
    """One look at the thread of a loop that does not turn.

    Attributes:
        since: When the look before ended, by ``perf_counter``.
        wanted: When this one was due.
        taken: When it was taken.
        callback: What identifies the callback that runs; None if none does.
        stack: Its stack; None if no callback runs.
        ran: Seconds for which the loop's thread has run since the look before; None if unknown.
        starved: Seconds for which the loop's thread has waited for a CPU since then.
        others_ran: Seconds for which other threads of the process have.
        waited: Seconds for which the looking thread itself may have waited for a CPU before it
            asked for the interpreter's lock.
        request: The request that the callback belongs to, or None.
        context: The callback's context, or None.
    """

    since: float
    wanted: float
    taken: float
    callback: Any = None
    stack: Stack | None = None
    ran: float | None = None
    starved: float = 0.0
    others_ran: float = 0.0
    waited: float = 0.0
    request: Any = None
    context: Any = None

    @property
    def late(self) -> float:
        """Seconds by which it was late; 0 where that is how Python switches threads."""
        late = self.taken - self.wanted
        return late if late > LATE_SAMPLE else 0.0

    @property
    def is_one_call(self) -> bool:
        """Whether it was late because one call of the loop's thread held the interpreter's lock."""
        return (
            self.late > 0
            and self.ran is not None
            and self.ran + self.starved >= _OWN_SHARE * self.late
            and self.others_ran + self.waited <= _FOREIGN_SHARE * self.late
        )

    def proves(self, before: "Sample | None") -> float:
        """Seconds for which the callback is known to have run, or wanted to, until the sample.

        Args:
            before: The look before, at the same callback; None if that ran another one.
        """
        if before is None:
            return self.late if self.is_one_call else 0.0
        if not self.late or self.is_one_call:
            return self.taken - self.since
        # Others had the lock: the callback may have waited for it as well.
        known = self.wanted - self.since
        return known if self.late < known else 0.0


@dataclass(frozen=True)
class Held:
    """What held the loop.

    Attributes:
        site: The label value: a line, or a cause.
        seconds: For how long.
        line: The line; None for a cause.
        callee: The function of a library that the line had called; empty for none.
        request: The request that it belongs to, or None.
        context: The callback's context, or None.
    """

    site: str
    seconds: float
    line: Line | None = None
    callee: str = ""
    request: Any = None
    context: Any = None


def conclude(
    samples: Sequence[Sample],
    start: float,
    end: float,
    *,
    collected: Callable[[float, float], float],
    waited: float,
    min_proof: float,
) -> list[Held]:
    """What held the loop, the longest first.

    Args:
        samples: Looks at it, in their order.
        start: When it was blocked at the latest, by ``perf_counter``.
        end: When it turned again.
        collected: Seconds of garbage collections within a time.
        waited: Seconds for which its thread waited for a CPU; no line caused them.
        min_proof: Seconds for which a callback must be known to have held it to be named.
    """
    total = end - start
    if total <= 0:
        return []
    ran = max(0.0, 1 - waited / total)
    garbage = min(collected(start, end), total) * ran
    code = total * ran - garbage
    found = [Held(GC, garbage)] if garbage > 0 else []
    # What a thread waits for a CPU is only counted when it has got one.
    unseen = max(0.0, waited - sum(sample.starved for sample in samples))
    runs = _runs(samples)
    seconds: dict[str, float] = defaultdict(float)
    named: list[Held] = []
    at = start
    for number, run in enumerate(runs):
        until = end if number == len(runs) - 1 else run[-1].taken
        length = max(0.0, until - at - collected(at, until))
        first, at = run[0], until
        proof = _proof(run) - collected(first.since, run[-1].taken) - unseen
        if first.callback is None:
            seconds[OTHER_THREADS] += length
        elif proof >= min_proof and length * ran >= min_proof:
            named += _name(run, length, min_proof, unseen)
        elif len(runs) > 1:
            seconds[MANY_CALLBACKS] += length
        else:
            seconds[UNKNOWN] += length
    if not runs:
        seconds[UNKNOWN] += total
    named += [Held(cause, length) for cause, length in seconds.items()]
    measured = sum(held.seconds for held in named)
    if measured > 0:
        share = code / measured
        found += [_scaled(held, share) for held in named if held.seconds * share > 0]
    return sorted(found, key=lambda held: -held.seconds)


def is_proved(samples: Sequence[Sample], min_proof: float) -> bool:
    """Whether the callback that runs is known already to hold the loop."""
    run = _runs(samples)[-1] if samples else []
    if not run or run[-1].callback is None:
        return False
    return _proof(run) >= min_proof


def _proof(run: Sequence[Sample]) -> float:
    """Seconds for which one callback is known to have held the loop, without waits for a CPU."""
    known = map(Sample.proves, run, (None, *run))
    return sum(max(0.0, each - sample.starved) for each, sample in zip(known, run, strict=False))


def _runs(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples by callback."""
    found: list[list[Sample]] = []
    for sample in samples:
        if found and found[-1][-1].callback is sample.callback:
            found[-1].append(sample)
        else:
            found.append([sample])
    return found


def _name(run: Sequence[Sample], length: float, min_proof: float, unseen: float) -> list[Held]:
    """The lines of one callback that held the loop: each that is known to, else the busiest."""
    by_line: dict[Line, float] = defaultdict(float)
    weights = _weights(run, unseen)
    for before, sample, weight in zip((None, *run), run, weights, strict=False):
        assert sample.stack is not None  # noqa: S101  # it has a callback
        line = sample.stack.lines[0]
        if before is None:  # the callback may have begun just before
            by_line[line] += min(weight, sample.proves(None))
        elif before.stack is None or before.stack.lines[0] == line:
            by_line[line] += weight
    top = _busiest(run, weights)
    by_line.pop(top, None)
    lines = {line: weight for line, weight in by_line.items() if weight >= min_proof}
    total = sum(weights)
    rest = length * max(0.0, 1 - sum(lines.values()) / total)
    shares = {top: rest, **{line: length * weight / total for line, weight in lines.items()}}
    return [_held(run, line, seconds) for line, seconds in shares.items() if seconds > 0]


def _weights(run: Sequence[Sample], unseen: float) -> list[float]:
    """Seconds before each sample, without waits for a CPU, which are seen when they are over.

    Args:
        run: The samples.
        unseen: Seconds of waits that no sample has seen.
    """
    found: list[float] = []
    for sample in reversed(run):
        length = sample.taken - sample.since
        unseen += sample.starved
        waited = min(length, unseen)
        unseen -= waited
        found.append(max(length - waited, 1e-9))
    return found[::-1]


def _held(run: Sequence[Sample], line: Line, seconds: float) -> Held:
    """A line with the request that it served: a task may go on with other work."""
    at = [sample for sample in run if sample.stack is not None and line in sample.stack.lines]
    served = next((sample for sample in reversed(at) if sample.request is not None), at[-1])
    return Held(line.site, seconds, line, _callee(run, line), served.request, served.context)


def _busiest(run: Sequence[Sample], weights: Sequence[float]) -> Line:
    """The busiest line of the innermost function that was on the stack most of the time."""
    by_function: dict[tuple[str, str], float] = defaultdict(float)
    by_line: dict[Line, float] = defaultdict(float)
    depths: dict[tuple[str, str], int] = defaultdict(int)
    for sample, weight in zip(run, weights, strict=True):
        assert sample.stack is not None  # noqa: S101  # it has a callback
        for height, line in enumerate(reversed(sample.stack.lines)):
            function = (line.path, line.function)
            by_function[function] += weight
            by_line[line] += weight
            depths[function] = max(depths[function], height)
    least = _MAJORITY * sum(weights)
    function = max(
        (each for each, weight in by_function.items() if weight >= least),
        key=lambda each: depths[each],
        default=max(by_function, key=lambda each: by_function[each]),
    )
    lines = [line for line in by_line if (line.path, line.function) == function]
    return max(lines, key=lambda line: by_line[line])


def _callee(run: Sequence[Sample], line: Line) -> str:
    """What a line had called most of the time; empty if it was busy itself, or a callee was."""
    calls: dict[str, int] = defaultdict(int)
    for sample in run:
        if sample.stack is not None and sample.stack.lines[0] == line:
            calls[sample.stack.callee] += 1
    return max(calls, key=lambda each: calls[each], default="")


def _scaled(held: Held, share: float) -> Held:
    return Held(held.site, held.seconds * share, held.line, held.callee, held.request, held.context)
