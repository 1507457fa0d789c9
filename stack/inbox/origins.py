"""Which requests come from pages of others: a browser sends them without asking anybody.

A page may send to every port of its reader's machine. It cannot hide where it comes from: browsers
name the page in `Origin`, and the name it asked for in `Host`, also after DNS rebinding, where a
name of the page's owner leads to loopback.
"""

from collections.abc import Container
from email.message import Message
from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def fault(
    headers: Message, names: Container[str] = LOOPBACK_NAMES, friends: Container[str] = ()
) -> str:
    """Why a request is refused, in a sentence; empty if it is not.

    Args:
        headers: The request's.
        names: Hosts, without ports, that the server answers to.
        friends: Other origins whose pages may ask.
    """
    hosts = headers.get_all("Host", [])
    try:
        known = len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in names
    except ValueError:  # a bracket without the other
        known = False
    if not known:
        return "This does not answer to the name in `Host`."
    own = {f"http://{hosts[0]}", f"https://{hosts[0]}"}
    origins = headers.get_all("Origin", [])
    if any(origin not in own and origin not in friends for origin in origins):
        return "Pages of another origin may not ask."
    return ""
