"""What a Redis command looks up, and what its reply says: found or not found.

Only the name of a command becomes a label value. By the protocol it is the first word of the
command, and a name that is not known here is used only once a server has understood it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

UNKNOWN = "__other__"
MAX_NAMES = 100
"""Names of commands, beyond which further ones share ``__other__``."""

Found = Iterable[tuple[Any, bool]]
"""Keys that were looked up, and whether each was found."""

_NAME = re.compile(r"[a-z_]{1,24}(\.[a-z_]{1,24})?")


def key_of(args: Sequence[Any]) -> Any:
    """The first key of a command."""
    return args[1] if len(args) > 1 else None


def _value(args: Sequence[Any], reply: Any) -> Found:
    """One key, nil where there is none."""
    return ((key_of(args), reply is not None),)


def _collection(args: Sequence[Any], reply: Any) -> Found:
    """One key whose whole collection is returned: Redis deletes a collection that is empty."""
    return ((key_of(args), bool(reply)),)


def _fields(args: Sequence[Any], reply: Any) -> Found:
    """One key and several fields of it, each nil where there is none."""
    for value in reply if isinstance(reply, list | tuple) else (reply,):
        yield key_of(args), value is not None


def _keys(args: Sequence[Any], reply: Any) -> Found:
    """Several keys, each nil where there is none."""
    yield from zip(args[1:], (value is not None for value in reply), strict=False)


class Command(NamedTuple):
    """A command of Redis.

    Attributes:
        operation: Its label value.
        look_up: Reads from its arguments and its reply what was found; None if it is no lookup.
    """

    operation: str
    look_up: Callable[[Sequence[Any], Any], Found] | None = None

    def lookups(self, args: Sequence[Any]) -> int:
        """How many lookups the command makes, as far as its arguments tell."""
        if self.look_up is None:
            return 0
        return max(len(args) - 1, 1) if self.look_up is _keys else 1


OTHER = Command(UNKNOWN)
_LOOKUPS = {
    **dict.fromkeys(("get", "getex", "getdel", "hget", "json.get"), _value),
    **dict.fromkeys(("hgetall", "smembers"), _collection),
    **dict.fromkeys(("hmget", "hgetex", "hgetdel"), _fields),
    **dict.fromkeys(("mget", "json.mget"), _keys),
}
_OTHERS = (
    "set setex psetex setnx mset getset append incr incrby decr decrby del unlink exists expire "
    "pexpire persist ttl pttl scan hset hdel hincrby hexists hkeys sadd srem sismember scard zadd "
    "zrem zrange zscore lpush rpush lpop rpop lrange llen eval evalsha publish ping"
)


class Commands:
    """The commands that one client sends, by the name under which it sends them."""

    def __init__(self) -> None:
        self._known = {name: Command(name, look_up) for name, look_up in _LOOKUPS.items()}
        self._known |= {name: Command(name) for name in _OTHERS.split()}
        self._by_sent: dict[Any, Command] = {}

    def of(self, args: Sequence[Any], *, understood: bool) -> Command:
        """The command of these arguments.

        Args:
            args: The arguments, the command first; it may be text or bytes in any case, and
                text may hold further words.
            understood: Whether a server has executed it.
        """
        sent = args[0] if args else ""
        command = self._by_sent.get(sent)
        return command or self._recognise(sent, understood=understood)

    def _recognise(self, sent: Any, *, understood: bool) -> Command:
        text = sent.decode(errors="replace") if isinstance(sent, bytes) else str(sent)
        name = text.split(maxsplit=1)[0].lower() if text.strip() else ""
        command = self._known.get(name)
        if command is None:
            if not understood or len(self._known) >= MAX_NAMES or not _NAME.fullmatch(name):
                return OTHER
            command = self._known[name] = Command(name)
        if " " in text:
            return Command(name)  # its arguments are in the same text: there is no key to look at
        if len(self._by_sent) < MAX_NAMES:
            self._by_sent[sent] = command
        return command
