"""Fingerprints of exceptions: one id for all occurrences of the same error.

An error is identified by its class and the own frames it was raised through, see
``vitals.errors.own_frames``, and by those of its cause (``raise ... from``), if that passed own
frames too. Neither messages nor lines count. What was merely being handled (``__context__``)
does not count either: it depends on what else went wrong.

A group of exceptions that are all the same error is that error. Another group is identified by
where it was raised, because which of its members failed may differ each time.
"""

from hashlib import blake2b
from typing import NamedTuple

from vitals.asgi.request_context import error_type_of
from vitals.errors.own_frames import Place, own_places, package_places, type_name

MAX_CAUSES = 5
"""Causes that are looked at."""
MAX_MEMBERS = 50
"""Members of a group that are looked at."""
_SIZE = 8


class Fingerprint(NamedTuple):
    """What identifies an error.

    Attributes:
        id: 16 hex digits.
        type: The exception's class, as a label value.
        place: The innermost own frame, as ``shop.orders:create``; empty if there is none.
    """

    id: str
    type: str
    place: str


def fingerprint(error: BaseException, caller: Place | None = None) -> Fingerprint:
    """The fingerprint of an exception; costs some forty microseconds.

    Args:
        error: The exception, while it has its traceback.
        caller: What identifies it if it passed no own frame, such as the endpoint.
    """
    error = _single(error)
    places = own_places(error.__traceback__)
    kind = _named(error)
    parts = [type_name(kind), *map(str, places)]
    if not places:
        places = [caller] if caller else package_places(error.__traceback__)
        parts += map(str, places)
    cause, seen = error.__cause__, {id(error)}
    while cause is not None and id(cause) not in seen and len(seen) <= MAX_CAUSES:
        seen.add(id(cause))
        behind = own_places(cause.__traceback__)
        if behind:
            parts += ["from", type_name(_named(cause)), *map(str, behind)]
        cause = cause.__cause__
    digest = blake2b("\n".join(parts).encode("utf-8", "replace"), digest_size=_SIZE)
    return Fingerprint(digest.hexdigest(), error_type_of(error), str(places[0]) if places else "")


def _single(error: BaseException) -> BaseException:
    """The error that all members of a group are; else the group."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting and len(leaves) < MAX_MEMBERS:
        member = waiting.pop()
        if isinstance(member, BaseExceptionGroup):
            waiting += member.exceptions[:MAX_MEMBERS]
        else:
            leaves.append(member)
    same = len(leaves) == 1 or len({fingerprint(leaf).id for leaf in leaves}) == 1
    return leaves[0] if same else error


def _named(error: BaseException) -> type:
    """The class of an exception; of one that is made at run time, its nearest lasting base."""
    name = error_type_of(error)
    return next((kind for kind in type(error).__mro__ if kind.__qualname__ == name), Exception)
