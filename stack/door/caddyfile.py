"""Writes the Caddyfile of the door: TLS, a login, exact paths, headers.

Caddy understands it from 2.6 (Debian 12) on.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import indent
from typing import Any

from stack.door import passages
from stack.door.passages import Passage
from stack.door.settings import DoorSettings

_MAX_BODY = "1MB"
_URI = "{http.request.uri}"
_OAUTH2 = r"^/oauth2/(?:sign_in|start|callback|sign_out|static/[\w./-]*)(?:\?.*)?$"
"""Pages of oauth2-proxy, which are there to log in."""
_INLINE = re.compile(r"<script(?: nomodule)?>(.*?)</script>", re.DOTALL)
_DROPPED = ("Authorization", "Cookie", "Forwarded", "Proxy*", "X-*")
"""Headers of requests that nothing behind the door gets: logins, and what proxies are told."""


def render(
    settings: DoorSettings,
    through: Sequence[Passage],
    *,
    storage: str,
    users: Mapping[str, str],
    policy: str,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    certificate: tuple[str, str] = ("", ""),
) -> str:
    """Write the Caddyfile.

    Args:
        settings: The settings.
        through: What is let through.
        storage: Folder of Caddy's certificates.
        users: Hashes by bcrypt, by names; not used with an oauth2-proxy.
        policy: The content security policy of the pages.
        answers: JSON that the door itself answers, by its path.
        certificate: Files of the certificate and its key, with ``files``.
    """
    scheme = "http" if settings.tls == "off" else "https"
    headers = _headers(settings, policy)
    bind = f"bind [{settings.host}]" if ":" in settings.host else f"bind {settings.host}"
    site = _block(
        f"{scheme}://{settings.url.bracketed}:{settings.port}",
        bind,
        *_tls(settings, certificate),
        _access_log(),
        headers,
        _block("route", *_login(settings, users), *_allowed(settings, through, answers or {})),
        # An error, such as a refused login, comes from outside of the headers above.
        _block("handle_errors", headers, 'respond "{http.error.status_text}"'),
    )
    # Requests for other hosts get no answer at all; Caddy's default is an empty 200.
    others = _block(f"{scheme}://:{settings.port}", bind, "abort")
    return "\n\n".join([_options(settings, storage), site, others]) + "\n"


def content_policy(page: str, origin: str) -> str:
    """The content security policy of the viewer's pages.

    Args:
        page: Its `index.html`, whose inline scripts are allowed by digest.
        origin: Of the door: Safari does not take `'self'` for WebSockets.
    """
    scripts = " ".join(f"'sha256-{_digest(found)}'" for found in _INLINE.findall(page))
    socket = origin.replace("http", "ws", 1)
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {socket}; "
        "worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _block(head: str, *body: str) -> str:
    inside = indent("\n".join(body), "\t")
    return f"{head} {{\n{inside}\n}}".lstrip()


def _quoted(text: str) -> str:
    """A value of the Caddyfile; backquotes keep everything but themselves."""
    return f"`{text}`" if "`" not in text else json.dumps(text)


def _options(settings: DoorSettings, storage: str) -> str:
    is_plain = settings.tls == "off"
    lines = [
        "admin off",
        "auto_https disable_redirects",  # one port is opened, no second one
        "skip_install_trust",
        f"storage file_system {_quoted(storage)}",
        f"{'http' if is_plain else 'https'}_port {settings.port}",
    ]
    if settings.url.is_address and not is_plain:
        lines.append(f"default_sni {settings.url.host}")  # clients send no name for an address
    if settings.acme_email:
        lines.append(f"email {settings.acme_email}")
    limits = _block("timeouts", "read_header 10s", "read_body 30s", "idle 2m")
    return _block(
        "",
        *lines,
        _block("servers", "protocols h1 h2", "max_header_size 32KB", limits),
        _block("log", "output stderr", "level WARN"),
    )


def _tls(settings: DoorSettings, certificate: tuple[str, str]) -> list[str]:
    if settings.tls == "internal":
        return ["tls internal"]
    if settings.tls == "files":
        return [f"tls {_quoted(certificate[0])} {_quoted(certificate[1])}"]
    if settings.tls == "off":
        return []
    # The challenge within TLS needs no second port.
    lines = ["disable_http_challenge", f"alt_tlsalpn_port {settings.port}"]
    if settings.acme_url:
        lines.append(f"dir {settings.acme_url}")
    if settings.acme_root:
        lines.append(f"trusted_roots {_quoted(str(settings.acme_root))}")
    return [_block("tls", _block("issuer acme", *lines))]


def _access_log() -> str:
    """A line for each request: who asked for which path, without queries and headers."""
    fields = _block(
        "fields",
        "request>headers delete",
        "request>tls delete",
        "resp_headers delete",
        r'request>uri regexp `\?.*` ""',
    )
    form = _block("format filter", "wrap json", fields)
    return _block("log", "output stdout", form)


def _headers(settings: DoorSettings, policy: str) -> str:
    lines = [
        f"Content-Security-Policy {_quoted(policy)}",
        "X-Content-Type-Options nosniff",
        "X-Frame-Options DENY",
        "Referrer-Policy same-origin",
        "Cross-Origin-Opener-Policy same-origin",
        "Cross-Origin-Resource-Policy same-origin",
        'Permissions-Policy "camera=(), geolocation=(), microphone=()"',
        "-Access-Control-Allow-Origin",
        "-Server",
        "-Via",
        "defer",
    ]
    if settings.tls in {"acme", "files"}:  # it would bind other ports of a host of one's own
        lines.insert(0, "Strict-Transport-Security max-age=31536000")
    return _block("header", *lines)


def _allowed(
    settings: DoorSettings,
    through: Sequence[Passage],
    answers: Mapping[str, Mapping[str, Any]],
) -> Iterable[str]:
    """What somebody may who has logged in; a browser has for pages of other origins, too."""
    yield _block("@foreign", "header Origin *", f"not header Origin {settings.url.origin}")
    yield "respond @foreign 403"
    yield _block(
        "@embedded",
        "header_regexp Sec-Fetch-Site ^(?:cross-site|same-site)$",
        "not header Sec-Fetch-Mode navigate",
    )
    yield "respond @embedded 403"
    yield _block("request_body", f"max_size {_MAX_BODY}")
    # Alerts link to a query on Prometheus' own page, which is not here.
    yield rf"@graph vars_regexp graph {_URI} ^/graph\?g0\.expr=([^&]*)"
    yield "redir @graph /query/?expr={http.regexp.graph.1} 302"
    for number, (path, content) in enumerate(answers.items()):
        name = f"answer{number}"
        yield _matcher(name, passages.READ, re.escape(path))
        yield _block(
            f"handle @{name}",
            "header Content-Type application/json",
            "header Cache-Control no-store",
            f"respond {_quoted(json.dumps(content))} 200",
        )
    for passage in through:
        yield _matcher(
            passage.name, passage.methods, passage.path, passage.without, passage.websocket
        )
        yield _block(f"handle @{passage.name}", *_forward(passage))
    yield "respond 404"


def _forward(passage: Passage) -> Iterable[str]:
    if not passage.websocket:
        yield "request_header -Upgrade"
    if passage.strip:
        yield f"uri strip_prefix {passage.strip}"
    if passage.prepend:
        yield f"rewrite * {passage.prepend}{_URI}"
    # A request that was sent is not sent again, unless it only reads.
    of_pair = ("lb_policy first", "lb_try_duration 5s", "fail_duration 10s")
    yield _block(
        f"reverse_proxy {passage.upstream}",
        "header_up Host {http.reverse_proxy.upstream.hostport}",
        *(f"header_up -{name}" for name in _DROPPED),
        *(of_pair if " " in passage.upstream else ()),
        _block("transport http", "dial_timeout 5s", "response_header_timeout 60s"),
    )


def _matcher(
    name: str,
    methods: Sequence[str],
    path: str,
    without: str = "",
    websocket: bool = False,  # noqa: FBT001, FBT002
) -> str:
    lines = [f"method {' '.join(methods)}", rf"vars_regexp {_URI} ^(?:{path})(?:\?.*)?$"]
    if without:
        lines.append(f"not vars_regexp {_URI} {without}")
    if websocket:
        lines += [
            r"header_regexp Connection (?i)(?:^|[,\s])upgrade(?:$|[,\s])",
            "header_regexp Upgrade (?i)^websocket$",
        ]
    return _block(f"@{name}", *lines)


def _login(settings: DoorSettings, users: Mapping[str, str]) -> Iterable[str]:
    return _oauth2(settings) if settings.oauth2_proxy else _password(users)


def _password(users: Mapping[str, str]) -> Iterable[str]:
    """A login by name and password.

    Other names are refused without the hash that Caddy computes for them, which takes a second.
    """
    known = "|".join(sorted({re.escape(_begin(name)) for name in users}))
    yield _block(
        "@stranger",
        "header Authorization *",
        f"not header_regexp Authorization `^(?i:basic) +(?:{known})`",
    )
    yield _block("handle @stranger", 'header WWW-Authenticate `Basic realm="watch"`', "respond 401")
    accounts = (f"{name} {hashed}" for name, hashed in users.items())
    yield _block("basicauth bcrypt watch", *accounts)


def _begin(name: str) -> str:
    """How the credentials of a name begin: the part of base64 that its password does not change."""
    text = f"{name}:".encode()
    return base64.b64encode(text)[: len(text) // 3 * 4].decode()


def _oauth2(settings: DoorSettings) -> Iterable[str]:
    """A login by oauth2-proxy: it decides about each request, and has the pages to log in."""
    proxy, url = settings.oauth2_proxy, settings.url
    of_url = (
        f"header_up X-Forwarded-Host {url.origin.partition('//')[2]}",
        f"header_up X-Forwarded-Proto {url.scheme}",
    )
    yield f"@oauth2 vars_regexp {_URI} {_OAUTH2}"
    yield _block("handle @oauth2", _block(f"reverse_proxy {proxy}", *of_url))
    # A person gets the way to log in, which leads back; what a page asks for just fails.
    back = "header_up X-Auth-Request-Redirect {http.request.orig_uri}"
    sign_in = _block(f"reverse_proxy {proxy}", *of_url, back)
    yield _block(
        f"forward_auth {proxy}",
        "uri /oauth2/auth",
        *of_url,
        "@refused status 401 403",
        _block(
            "handle_response @refused",
            _block("@person", "method GET", "header Accept *text/html*"),
            _block("handle @person", "rewrite * /oauth2/sign_in", sign_in),
            "respond 401",
        ),
    )
