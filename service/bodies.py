"""Which request bodies come in: JSON, up to a size. Pure ASGI; it never reads a body itself.

Bytes are counted while the endpoint receives them, so nothing is buffered, nothing can hang, and
a request without a body pays two look-ups.
"""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import BadRequestError, ServiceError, TooLargeError, UnsupportedMediaTypeError

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class BodyGate:
    """Answers 413 and 415 before an endpoint works on a body that it should not accept.

    Args:
        app: What to guard.
        limit: The largest body accepted, in bytes, whatever its declared size says.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request here, or pass it on with a counted body."""
        if scope["type"] != "http" or scope["method"] not in WITH_BODY:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope))
        if refusal is not None:
            await problems.answer(refusal)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    def _refusal(self, headers: Headers) -> ServiceError | None:
        length = headers.get("content-length", "")
        if length and not (length.isascii() and length.isdigit()):
            return BadRequestError("Content-Length is not a number.")
        if length and int(length[:20]) > self._limit:
            return self._too_large()
        has_body = (length and int(length[:20]) > 0) or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if has_body and media_type != "application/json":
            return UnsupportedMediaTypeError()
        return None

    def _too_large(self) -> TooLargeError:
        return TooLargeError(f"The body is larger than {self._limit} bytes.")

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._limit:
                    # FastAPI lets this kind of exception pass while it reads a body.
                    error = self._too_large()
                    raise HTTPException(error.status, error.detail, error.headers)
            return message

        return counted
