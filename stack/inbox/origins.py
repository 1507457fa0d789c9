"""Detects cross-site requests, which a web page can make a browser send.

A page may send requests to every port of its visitor's machine. It cannot forge its origin:
browsers send it in `Origin`, and the requested host name in `Host`, also under DNS rebinding, where
a name of the attacker resolves to loopback.
"""

import re
from collections.abc import Container
from email.message import Message
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

_PAGE_WRITES = {
    "POST": re.compile(r"/api/v2/silences"),
    "DELETE": re.compile(r"/api/v2/silence/[\w-]+"),
    "OPTIONS": re.compile(r"/api/v2/(silences|silence/[\w-]+)"),
}
"""What a page of the viewer may send besides GET, by the method: silences, and their preflights."""


def page_refusal(method: str, path: str) -> str:
    """Why a request of the viewer's pages to Alertmanager is refused; empty if it is allowed."""
    allowed = _PAGE_WRITES.get(method)
    if method in {"GET", "HEAD"} or (allowed and allowed.fullmatch(path)):
        return ""
    return "Pages of another origin may only read, and create and expire silences."


def refusal(
    headers: Message, names: Container[str] = LOOPBACK_NAMES, allowed_origins: Container[str] = ()
) -> str:
    """Why a request is refused, as a sentence; empty if it is allowed.

    Args:
        headers: Request headers.
        names: Host names, without ports, that the server accepts.
        allowed_origins: Other origins whose pages may send requests.
    """
    hosts = headers.get_all("Host", [])
    try:
        known = len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in names
    except ValueError:  # an unbalanced bracket
        known = False
    if not known:
        return "The host name in `Host` is not accepted here."
    own = {f"http://{hosts[0]}", f"https://{hosts[0]}"}
    origins = headers.get_all("Origin", [])
    if any(origin not in own and origin not in allowed_origins for origin in origins):
        return "Requests from pages of another origin are refused."
    return ""
