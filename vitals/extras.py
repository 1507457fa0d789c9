"""Optional dependencies: imports that name the extra to install when a package is missing."""

from collections.abc import Iterator
from contextlib import contextmanager


class MissingExtraError(ImportError):
    """A package of an extra of ``vitals-kit`` is not installed."""


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Import what an option needs.

    ``with needs_extra("otel", "otlp_endpoint="): from vitals.tracing.setup import Tracing``

    Args:
        extra: The extra of ``vitals-kit`` that brings the packages.
        what: What needs them, for the message.

    Raises:
        MissingExtraError: One of them is not installed; its ``name`` is the missing module.
    """
    try:
        yield
    except MissingExtraError:
        raise  # names the extra already
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "vitals":
            raise  # a fault of the kit
        raise MissingExtraError(
            f"{what} needs {error.name}, which is not installed: pip install 'vitals-kit[{extra}]'",
            name=error.name,
        ) from error
