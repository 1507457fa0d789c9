"""``/docs``: a page to try the API out. The only page here, so the only one that loads anything."""

import re
from base64 import b64encode
from hashlib import sha256

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

SCRIPTS = "https://cdn.jsdelivr.net"
_INLINE = re.compile(r"<script>((?:[^<]|<(?!/?script>))*+)</script>")


def install(app: FastAPI) -> None:
    """Serve the page at ``/docs``.

    Its own script is allowed by its digest, so that none that is injected can run.
    """
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_favicon_url="data:,",
    )
    text = bytes(page.body).decode()
    digests = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE.findall(text)
    )
    policy = (
        f"default-src 'none'; script-src {SCRIPTS} {digests}; "
        f"style-src {SCRIPTS} 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})
