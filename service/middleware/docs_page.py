"""``/docs``: Swagger UI, served without third-party requests.

The files of Swagger UI come with the package fastapi-offline, pinned with its digest in the lock
file, so that the page works offline and no other server can change it.
"""

import importlib.util
import re
from base64 import b64encode
from collections.abc import Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

PACKAGE = "fastapi_offline"
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
CACHING = "public, max-age=31536000, immutable"
"""Immutable: the URL contains a digest of the content."""
_INLINE = re.compile(r"<script>((?:[^<]|<(?!/?script>))*+)</script>")


def install(app: FastAPI) -> None:
    """Serve the page at ``/docs``, and its files below.

    The content security policy allows its inline script by digest, so no injected one can run.

    Raises:
        RuntimeError: Swagger UI is not installed.
    """
    folder = _folder()
    addresses = {}
    for name, media_type in FILES.items():
        content = (folder / name).read_bytes()
        addresses[name] = f"/docs/{sha256(content).hexdigest()[:16]}/{name}"
        app.get(addresses[name], include_in_schema=False)(_serving(content, media_type))
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url=addresses["swagger-ui-bundle.js"],
        swagger_css_url=addresses["swagger-ui.css"],
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},  # would call a third-party server
    )
    text = bytes(page.body).decode()
    digests = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE.findall(text)
    )
    policy = (
        f"default-src 'none'; script-src 'self' {digests}; style-src 'self'; "
        "img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def _serving(content: bytes, media_type: str) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def show_file() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": CACHING})

    return show_file


def _folder() -> Path:
    found = importlib.util.find_spec(PACKAGE)  # found, but not imported: only its files are used
    if found is None or found.origin is None:
        raise RuntimeError("Swagger UI is missing: install the package fastapi-offline")
    return Path(found.origin).parent / "static"
