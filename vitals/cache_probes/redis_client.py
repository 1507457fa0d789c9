"""Measures the commands of one redis-py client: sync, asyncio or cluster, and its pipelines.

A pipeline is timed as one command, ``pipeline``; its lookups count one by one. ``PubSub``,
``monitor`` and a client that ``client.client()`` makes are not measured.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.measured_class import PROBE, measure, subclass, time_call
from vitals.cache_probes.redis_commands import Command, Commands, key_of
from vitals.watchers import Watchers

PIPELINE = "pipeline"


def measure_client(client: Any, recorder: CacheRecorder) -> None:
    """Measure a client, once for each application."""
    measure(client, _client_class, RedisProbe()).recorders.add(recorder)


class RedisProbe:
    """Records the commands of one client.

    Attributes:
        recorders: Where to record them.
    """

    def __init__(self) -> None:
        self.recorders: Watchers[CacheRecorder] = Watchers()
        self._commands = Commands()

    def command(
        self, args: Sequence[Any], seconds: float, reply: Any, error: BaseException | None, /
    ) -> None:
        """Record a command (an ``Ended``)."""
        recorder = self.recorders.current()
        if recorder is None:
            return
        command = self._commands.of(args, understood=error is None)
        if error is None and command.look_up is not None:
            recorder.read(command.operation, seconds, command.look_up(args, reply))
        else:
            lookups = command.lookups(args)
            recorder.done(command.operation, seconds, key_of(args), error, lookups)

    def pipeline(
        self,
        sent: Sequence[Sequence[Any]],
        seconds: float,
        replies: Any,
        error: BaseException | None,
        /,
    ) -> None:
        """Record a pipeline (an ``Ended``)."""
        recorder = self.recorders.current()
        if recorder is None:
            return
        commands = [self._commands.of(args, understood=False) for args in sent]
        lookups = sum(map(Command.lookups, commands, sent))
        recorder.done(PIPELINE, seconds, None, error, lookups)
        for args, command, reply in zip(sent, commands, replies or (), strict=False):
            if command.look_up is None:
                continue
            if isinstance(reply, Exception):  # with raise_on_error=False
                recorder.count("error", key_of(args))
            else:
                for key, found in command.look_up(args, reply):
                    recorder.count("hit" if found else "miss", key)


@lru_cache(maxsize=64)
def _client_class(base: Any) -> Any:
    """The measured subclass of a class of clients."""

    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        call, probe = super(measured, self).execute_command, vars(self).get(PROBE)
        if probe is None:  # it was made by a measured client
            return call(*args, **options)
        return time_call(probe.command, args, call, args, options)

    def pipeline(self: Any, *args: Any, **options: Any) -> Any:
        made, probe = super(measured, self).pipeline(*args, **options), vars(self).get(PROBE)
        if probe is not None:
            measure(made, _pipeline_class, probe)
        return made

    measured = subclass(base, execute_command, pipeline)
    return measured


@lru_cache(maxsize=64)
def _pipeline_class(base: Any) -> Any:
    """The measured subclass of a class of pipelines."""

    def execute(self: Any, *args: Any, **options: Any) -> Any:
        record = vars(self)[PROBE].pipeline
        return time_call(record, _queued(self), super(measured, self).execute, args, options)

    def immediate_execute_command(self: Any, *args: Any, **options: Any) -> Any:
        """What is sent at once, between WATCH and MULTI."""
        call = super(measured, self).immediate_execute_command
        return time_call(vars(self)[PROBE].command, args, call, args, options)

    measured = subclass(base, execute, immediate_execute_command)
    return measured


def _queued(pipeline: Any) -> list[Sequence[Any]]:
    """The arguments of a pipeline's commands; of a cluster's pipeline its strategy has them."""
    for holder in (pipeline, getattr(pipeline, "_execution_strategy", None)):
        for name in ("command_stack", "_command_stack", "_command_queue"):
            queue = getattr(holder, name, None)
            if queue:
                return [each[0] if isinstance(each, tuple) else each.args for each in queue]
    return []
