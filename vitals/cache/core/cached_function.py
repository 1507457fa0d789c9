"""Keys and tags of the calls of a cached function."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

from vitals.cache.core.keys import KeyTemplate
from vitals.cache.core.store import InvalidationTarget

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

ALL = "all"
"""Key of a function without parameters."""


class CachedFunction(Protocol[P, R_co]):
    """A function whose results are cached."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R_co]:
        """Return the cached result, else call the function."""

    def entry(self, *args: P.args, **kwargs: P.kwargs) -> InvalidationTarget:
        """Return the invalidation target of a call's result."""

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drop a call's result; see ``Namespace.invalidate``."""


class CallKeys:
    """Makes keys and tags of a function's arguments.

    Args:
        function: An async function.
        key: The template of its keys; None for all parameters.
        tags: Templates of its tags.
        ignore: Parameters that do not change the result.

    Attributes:
        signature: The function's, with its annotations evaluated.
        template: Of its keys.

    Raises:
        TypeError: The function is not async.
        ValueError: A parameter is neither in the key nor ignored, or a template names another.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        key: KeyTemplate | None,
        tags: tuple[str, ...],
        ignore: frozenset[str],
    ) -> None:
        name = getattr(function, "__qualname__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"cannot cache {name}: it is not an async function")
        self.signature = _signature(function)
        parameters = self.signature.parameters
        used = [parameter for parameter in parameters if parameter not in ignore]
        self.template = key or KeyTemplate(":".join(f"{{{each}}}" for each in used) or ALL)
        self._tags = tuple(map(KeyTemplate, tags))
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self._all_named = all(each.kind in named for each in parameters.values())
        if unused := set(used) - set(self.template.fields):
            raise ValueError(
                f"cannot cache {name}: {', '.join(sorted(unused))} would not be in its key; "
                "name it in key=, or in ignore= if it does not change the result"
            )
        for template in (self.template, *self._tags):
            if unknown := set(template.fields) - parameters.keys():
                raise ValueError(
                    f"cannot cache {name}: it has no parameter {', '.join(sorted(unknown))}"
                )

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Return the key and the tags of a call.

        Raises:
            TypeError: The arguments do not fit, or one has no text of its own.
        """
        fields: Mapping[str, Any] = kwargs
        # FastAPI passes all of them by name.
        if args or not self._all_named or kwargs.keys() != self.signature.parameters.keys():
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            fields = bound.arguments
        return self.template.fill(fields), tuple(tag.fill(fields) for tag in self._tags)


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with its annotations evaluated: FastAPI would do so in this module."""
    names = getattr(inspect.unwrap(function), "__globals__", {})

    def evaluated(annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        try:
            return eval(annotation, names)  # noqa: S307 - the function's own source
        except Exception:  # noqa: BLE001 - a name that exists for type checkers only
            return annotation

    found = inspect.signature(function)
    return found.replace(
        parameters=[
            each.replace(annotation=evaluated(each.annotation))
            for each in found.parameters.values()
        ],
        return_annotation=evaluated(found.return_annotation),
    )
