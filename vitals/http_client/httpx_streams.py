"""Bodies of httpx's responses, followed to their end; imported where a client of httpx is used."""

from collections.abc import AsyncIterator, Iterator

import httpx

from vitals.http_client.outgoing_call import OutgoingCall


class MeasuredStream(httpx.SyncByteStream):
    """A body that records its request when it is closed, or cannot be read.

    Args:
        stream: The body.
        call: The request.
    """

    def __init__(self, stream: httpx.SyncByteStream, call: OutgoingCall) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:  # the caller stopped reading, and closes next
            raise
        except BaseException as error:
            self._call.failed(error)
            raise

    def close(self) -> None:
        """Close the body."""
        try:
            self._stream.close()
        finally:
            self._call.finish()


class MeasuredAsyncStream(httpx.AsyncByteStream):
    """The same for an asynchronous client.

    Args:
        stream: The body.
        call: The request.
    """

    def __init__(self, stream: httpx.AsyncByteStream, call: OutgoingCall) -> None:
        self._stream = stream
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except GeneratorExit:  # the caller stopped reading, and closes next
            raise
        except BaseException as error:
            self._call.failed(error)
            raise

    async def aclose(self) -> None:
        """Close the body."""
        try:
            await self._stream.aclose()
        finally:
            self._call.finish()


def follow(response: httpx.Response, call: OutgoingCall) -> None:
    """Follow a response to the end of its body."""
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = MeasuredStream(response.stream, call)
    elif isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = MeasuredAsyncStream(response.stream, call)
