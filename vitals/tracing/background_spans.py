"""Spans of work that goes on after its request, linked to the request's span.

The request's span has ended by then. It stays the parent, so that a trace holds all that its
request caused, and the link says that the work follows from it rather than being a part of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Link, Span, Tracer
from starlette.background import BackgroundTask

OTEL_CALL = "_otel_original_call"
"""Where OpenTelemetry's instrumentation keeps the call of ``BackgroundTask`` that it replaces."""


@contextmanager
def without_background_spans() -> Iterator[None]:
    """Let OpenTelemetry's instrumentation add no spans of background tasks, unless it does already.

    It adds them once in a process, so those of a second application would go to the provider of the
    first; and they have no link.
    """
    call, traced = BackgroundTask.__call__, hasattr(BackgroundTask, OTEL_CALL)
    try:
        yield
    finally:
        if not traced and hasattr(BackgroundTask, OTEL_CALL):
            BackgroundTask.__call__ = call  # type: ignore[method-assign]
            delattr(BackgroundTask, OTEL_CALL)


@contextmanager
def linked_span(tracer_of: Callable[[Span], Tracer], name: str) -> Iterator[None]:
    """Make a span of a background task the current one, if its request is traced.

    If an instrumentation of the host's makes such spans too, one that is current already gets the
    link, and one that it makes within is a child of the request's.

    Args:
        tracer_of: The tracer for children of a span.
        name: The span's name.
    """
    current = trace.get_current_span()
    context = current.get_span_context()
    if current.is_recording():
        parent = getattr(current, "parent", None)
        if parent is not None:
            current.add_link(parent)
        yield
    elif not context.is_valid or hasattr(BackgroundTask, OTEL_CALL):
        yield
    else:
        with tracer_of(current).start_as_current_span(name, links=[Link(context)]):
            yield


def links_to_ended(span: Span) -> list[Link]:
    """The link of an operation whose current span has ended and was sampled; else none.

    That is a task's which outlives its request.
    """
    context = span.get_span_context()
    ended = getattr(span, "end_time", None) is not None
    return [Link(context)] if ended and context.trace_flags.sampled else []
