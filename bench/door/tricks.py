"""Requests without a login that try to reach what is behind the door, made from a seed."""

import base64
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from bench.door.watched_door import HOST, PASSWORD, USER

PATHS = (
    "/",
    "/alerts/",
    "/settings.json",
    "/d/svc-overview/?var-job=api",
    "/boards/index.json",
    "/api/v1/query?query=up",
    "/api/v1/rules",
    "/api/v1/admin/tsdb/delete_series?match[]=up",
    "/api/v1/write",
    "/-/reload",
    "/metrics",
    "/user/",
    "/store/api/search?q={}",
    "/store/v1/traces",
    "/store/loki/api/v1/tail?query={service_name=%22api%22}",
    "/tracker/api/v1/issues",
    "/alertmanager/api/v2/silences",
    "/alertmanager/api/v2/alerts",
    "/graph?g0.expr=up",
    "/oauth2/sign_in",
    "/.well-known/acme-challenge/x",
)
_SNEAKY = (
    "//", "/./", "/../", "/%2e/", "/%2e%2e/", "/%252e%252e/", "/..;/", "/;/", "/.;a=b/", "\\",
    "/%5c", "/%2f", "%2f%2f", "/%00/", "/%0d%0a", "%20", "/%c0%ae%c0%ae/", "/%ef%bc%8f",
    "/%u002e/", "/\uff0e\uff0e/", "/\x00", "/\t", "/*/", "/~/", "/%ff", "#", "?", "%3f", "%23",
    "/.well-known/..",
    "/oauth2/..", "/settings.json/..", "/%61pi", ":", "@",
)  # fmt: skip
_METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    "get", "GeT", "PRI", "FOO", "DEBUG", "PURGE", "M" * 300, "GET\x00", "G ET", "",
)  # fmt: skip
_FORWARDED = (
    "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Forwarded-Method", "X-Real-IP", "X-Client-IP",
    "X-Host", "X-Override-URL", "X-HTTP-Method-Override", "Forwarded", "X-Auth-Request-User",
    "X-Auth-Request-Email", "Remote-User", "X-Remote-User", "X-WebAuth-User", "X-User", "Via",
    "Referer", "X-Custom-IP-Authorization", "True-Client-IP", "CF-Connecting-IP", "X-Scope-OrgID",
)  # fmt: skip


class Trick(NamedTuple):
    """Bytes to send, what they try, and the name in the TLS handshake."""

    kind: str
    request: bytes
    name: str | None = HOST


def tricks(number: int, authority: str, seed: int = 1) -> Iterator[Trick]:
    """Make tricks, each kind as often as the others.

    Args:
        number: How many.
        authority: Host and port of the door.
        seed: Of the random choices.
    """
    rng = Random(seed)
    for count in range(number):
        kind, make = list(_KINDS.items())[count % len(_KINDS)]
        made = make(rng, authority)
        yield Trick(kind, *made) if isinstance(made, tuple) else Trick(kind, made)


def _request(
    target: str, authority: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1",
    body: bytes = b"",
) -> bytes:  # fmt: skip
    lines = [f"{method} {target} {version}", f"Host: {authority}", *headers]
    if body and not any(line.lower().startswith(("content-l", "transfer")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def _path(rng: Random, authority: str) -> bytes:
    path = rng.choice(PATHS)
    for _ in range(rng.randint(1, 4)):
        where = rng.randrange(len(path) + 1)
        path = path[:where] + rng.choice(_SNEAKY) + path[where:]
    if rng.random() < 0.1:
        path += "a/" * rng.randint(1000, 40_000)
    return _request(path if rng.random() < 0.1 else f"/{path.lstrip('/')}", authority)


def _method(rng: Random, authority: str) -> bytes:
    body = b"{}" if rng.random() < 0.5 else b""
    return _request(
        rng.choice(PATHS), authority, "Content-Type: application/json",
        method=rng.choice(_METHODS), body=body,
    )  # fmt: skip


def _target(rng: Random, authority: str) -> bytes:
    path = rng.choice(PATHS)
    form = rng.choice(
        (
            f"https://{authority}{path}", f"http://127.0.0.1:9090{path}", f"//{authority}{path}",
            f"http://localhost{path}", f"HTTPS://{authority.upper()}{path}", "*", authority,
            f"http://{USER}:{PASSWORD[:5]}@{authority}{path}", f"file://{path}", f"///{path}",
            f"http:{path}", f"?{path}", f"http://[::1]:9090{path}", f"{path[1:]}",
        )
    )  # fmt: skip
    return _request(form, rng.choice((authority, "127.0.0.1:9090")))


def _upgrade(rng: Random, authority: str) -> bytes:
    kind = rng.choice(("websocket", "h2c", "WebSocket", "h2c, websocket", "TLS/1.0", "foo"))
    headers = [
        f"Upgrade: {kind}",
        rng.choice(("Connection: Upgrade", "Connection: Upgrade, HTTP2-Settings", "Connection: x")),
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ]
    if rng.random() < 0.5:
        headers.append(f"Origin: https://{authority}")
    return _request(rng.choice(PATHS), authority, *headers)


def _host(rng: Random, authority: str) -> tuple[bytes, str | None]:
    path, other = rng.choice(PATHS), rng.choice(("127.0.0.1", "localhost", "evil.example", ""))
    name = authority.partition(":")[0]
    hosts = rng.choice(
        (
            [other], [authority, other], [other, authority], [f"{authority}@{other}"], [f"{name}."],
            [name.upper()], [f"{authority} {other}"], [f"{authority}\t"], [f"{other}#{authority}"],
            [f"{name}:80"], [f"{name}:0x1f90"], [f"{authority}/../"], [f"{authority},{other}"], [],
            [f"x.{authority}"], [f"{name}%00.{other}"], ["[::1]"], ["a" * 3000],
        )
    )  # fmt: skip
    lines = [f"GET {path} HTTP/1.1", *(f"Host: {each}" for each in hosts), "", ""]
    names = (HOST, HOST, "localhost", "evil.example", None)
    return "\r\n".join(lines).encode(), rng.choice(names)


def _origin(rng: Random, authority: str) -> bytes:
    origins = (f"https://{authority}", "null", "https://evil.example", "http://127.0.0.1:9090", "")
    return _request(
        rng.choice(PATHS), authority, f"Origin: {rng.choice(origins)}",
        f"Sec-Fetch-Site: {rng.choice(('same-origin', 'none', 'cross-site'))}",
        f"Referer: https://{authority}/", "Content-Type: application/json",
        method=rng.choice(("GET", "POST", "DELETE", "OPTIONS")), body=b"{}",
    )  # fmt: skip


def _smuggled(rng: Random, authority: str) -> bytes:
    inner = _request(rng.choice(PATHS), rng.choice((authority, "127.0.0.1:9090")))
    chunked = b"0\r\n\r\n" + inner
    length = rng.choice((str(len(chunked)), "4", "0", "-1", "+4", "4, 4", "1e1", "9" * 20))
    coding = rng.choice(
        ("chunked", "xchunked", "identity, chunked", "chunked, identity", "\tchunked", "Chunked",
         "chunked\x0b", "\x00chunked", "gzip, chunked", '"chunked"')
    )  # fmt: skip
    headers = {
        0: (f"Content-Length: {length}", f"Transfer-Encoding: {coding}"),
        1: (f"Transfer-Encoding: {coding}", f"Content-Length: {length}"),
        2: (f"Content-Length: {length}", "Content-Length: 0"),
        3: (f"Transfer-Encoding : {coding}",),
        4: (f"Content-Length: 0\nTransfer-Encoding: {coding}",),
        5: (f"X: y\rTransfer-Encoding: {coding}", f"Content-Length: {length}"),
        6: (" Transfer-Encoding: chunked", f"Content-Length: {length}"),
        7: ("Transfer-Encoding: chunked", f"Transfer-Encoding: {coding}"),
        8: ("Expect: 100-continue", f"Content-Length: {len(chunked)}"),
        9: ("Connection: Content-Length", f"Content-Length: {length}"),
    }[rng.randrange(10)]
    method = rng.choice(("GET", "POST", "HEAD"))
    return _request(rng.choice(PATHS), authority, *headers, method=method, body=chunked)


def _version(rng: Random, authority: str) -> bytes:
    path = rng.choice(PATHS)
    versions = (
        "HTTP/1.0",
        "HTTP/0.9",
        "HTTP/1.2",
        "HTTP/2.0",
        "HTTP/3",
        "http/1.1",
        "HTTP/1.1 ",
        "",
    )
    plain = _request(path, authority, version=rng.choice(versions))
    return rng.choice(
        (
            plain,
            f"GET {path}\r\n".encode(),
            f"GET {path} HTTP/1.0\r\n\r\n".encode(),
            f"GET {path} HTTP/1.1\r\n\r\n".encode(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(40),
            plain.replace(b"\r\n", b"\n"),
            plain.replace(b"\r\n", b"\r"),
            b"\r\n\r\n" + plain,
            b"\x16\x03\x01" + rng.randbytes(30),
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + plain,
            plain + plain + plain,
        )
    )


def _forwarded(rng: Random, authority: str) -> bytes:
    values = (
        "127.0.0.1",
        "/api/v1/query?query=up",
        "localhost",
        "https",
        USER,
        "for=127.0.0.1",
        "GET",
    )
    chosen = rng.sample(_FORWARDED, rng.randint(1, 5))
    headers = [f"{name}: {rng.choice((*values, authority))}" for name in chosen]
    return _request(rng.choice(PATHS), authority, *headers)


def _login(rng: Random, authority: str) -> bytes:
    def basic(text: str, scheme: str = "Basic") -> str:
        return f"{scheme} {base64.b64encode(text.encode()).decode()}"

    right = basic(f"{USER}:{PASSWORD}")
    wrong = (
        basic(f"{USER}:"), basic(USER), basic(":"), basic(f"{USER}:{PASSWORD[:-1]}"),
        basic(f"{USER}:{PASSWORD}\n"), basic(f"{USER}:{PASSWORD}\0"), basic(f"{USER}:{PASSWORD} "),
        basic(f"{USER.upper()}:{PASSWORD}"), basic(f" {USER}:{PASSWORD}"), basic(f"a:{PASSWORD}"),
        basic(f"{USER}\0:{PASSWORD}"), basic(f"{USER}:{'a' * 5000}"), basic(f"{USER}:$2b$10$x"),
        basic(f"{USER}:{PASSWORD}", "Bearer"), basic(f"{USER}:{PASSWORD}", "Digest"),
        basic(f"{USER}:{PASSWORD}", "Basic,"), basic(f"{USER}:{PASSWORD}", "Bas ic"),
        f"Basic {USER}:{PASSWORD}", f"Basic {right[6:-2]}", f"Basic x{right[6:]}", "Basic",
        "Negotiate AAAA", f'Digest username="{USER}"', "Bearer null", right[6:],
    )  # fmt: skip
    name = rng.choice(("Authorization", "authorization", "Authorization"))
    return rng.choice(
        (
            _request(rng.choice(PATHS), authority, f"{name}: {rng.choice(wrong)}"),
            _request(rng.choice(PATHS), authority, f"Proxy-Authorization: {right}"),
            _request(rng.choice(PATHS), authority, f"X-Authorization: {right}"),
            _request(rng.choice(PATHS), authority, f"Cookie: Authorization={right[6:]}"),
            _request(rng.choice(PATHS), authority, f"X: {right}\r\n Authorization: x"),
            _request(
                rng.choice(PATHS), authority, f"{name}: {rng.choice(wrong)}", f"{name}: {right}"
            ),
        )
    )  # fmt: skip


def _head(rng: Random, authority: str) -> bytes:
    odd = rng.choice(
        (
            "A" * 40_000 + ": x", "X: " + "y" * 200_000, "X\x00: y", "X: \x00", ": x", "X", " X: y",
            "Authorization\x00: x", "X : y", "Content-Type: multipart/form-data", "Range: bytes=0-",
            "If-None-Match: *", "Expect: 200-ok", "TE: trailers", "Connection: Authorization",
            "Cookie: _oauth2_proxy=x; grafana_session=x", "Accept: text/html",
        )
    )  # fmt: skip
    return _request(rng.choice(PATHS), authority, odd, *["X: y"] * rng.choice((0, 1, 2000)))


_KINDS: dict[str, Callable[[Random, str], bytes | tuple[bytes, str | None]]] = {
    "path": _path,
    "method": _method,
    "target": _target,
    "upgrade": _upgrade,
    "host": _host,
    "origin": _origin,
    "smuggling": _smuggled,
    "version": _version,
    "forwarded": _forwarded,
    "login": _login,
    "head": _head,
}
