"""What the command ``vitals`` reads from a running service."""

import argparse
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

PATH, PROFILE_PATH = "/vitals/bottlenecks", "/vitals/profile"
MEMORY_PATH = "/vitals/memory"
TIMEOUT = 10
"""Seconds."""

Found = list[dict[str, Any]]
Content = TypeVar("Content")


class CommandError(Exception):
    """An error to report on the command line, with what to do about it."""


def fetch_bottlenecks(arguments: argparse.Namespace) -> Found:
    """Read the bottlenecks page of a service.

    Raises:
        CommandError: It cannot be read; the message says what to do.
    """

    def parse(content: bytes) -> Found:
        found: Found = json.loads(content)["bottlenecks"]
        return found

    return _read(arguments, f"{PATH}?range={arguments.range}", "bottlenecks", parse)


def fetch_profile(arguments: argparse.Namespace) -> bytes:
    """Read the profile of a service.

    Raises:
        CommandError: It cannot be read; the message says what to do.
    """
    asked = {"seconds": arguments.seconds, "format": arguments.profile_format}
    if arguments.route is not None:
        asked["route"] = arguments.route
    path = f"{PROFILE_PATH}?{urllib.parse.urlencode(asked)}"
    return _read(arguments, path, "the profile", bytes, arguments.seconds + TIMEOUT)


def fetch_memory(arguments: argparse.Namespace) -> Found:
    """Read what grows in the memory of a service: one object.

    Raises:
        CommandError: It cannot be read; the message says what to do.
    """
    path = f"{MEMORY_PATH}?seconds={arguments.seconds}&top={arguments.top}"

    def parse(content: bytes) -> Found:
        return [dict(json.loads(content))]

    return _read(arguments, path, "its memory", parse, arguments.seconds + 3 * TIMEOUT)


def _read(
    arguments: argparse.Namespace,
    path: str,
    what: str,
    parse: Callable[[bytes], Content],
    timeout: float = TIMEOUT,
) -> Content:
    if not arguments.url.startswith(("http://", "https://")):
        raise CommandError(f"--url {arguments.url!r} must begin with http:// or https://")
    address = f"{arguments.url.rstrip('/')}{path}"
    request = urllib.request.Request(address)  # noqa: S310  # checked above
    # Cookies are kept for the login only; a redirect after it leads back to the page.
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(_cookies()))
    if arguments.token_file is not None:
        request.add_header("authorization", f"Bearer {read_secret(arguments.token_file)}")
    elif arguments.user and arguments.user_password_file is not None:
        password = read_secret(arguments.user_password_file)
        form = urllib.parse.urlencode({"name": arguments.user, "password": password})
        request.data = form.encode()
    try:
        with opener.open(request, timeout=timeout) as response:
            return parse(response.read())
    except urllib.error.HTTPError as error:
        told = error.read(200).decode(errors="replace").strip() or error.reason
        hint = {
            401: f"{told}; give an administrator's token (--token-file) or name (--user)",
            403: f"{told}; give an administrator's token (--token-file) or name (--user)",
            404: "the page is not enabled: instrument(app, admin=...)",
        }.get(error.code, told)
        error.close()
        raise CommandError(f"{arguments.url} responded with {error.code}: {hint}") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CommandError(
            f"cannot read {what} from {arguments.url}: {error}; is it the service, and does it run?"
        ) from error


def _cookies() -> CookieJar:
    # The page may be at an address without a dot, such as localhost.
    return CookieJar(DefaultCookiePolicy(strict_domain=False))


def read_secret(file: Path | str) -> str:
    """Read a password or token.

    Raises:
        CommandError: The file cannot be read.
    """
    try:
        return Path(file).read_text().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CommandError(f"cannot read {file}: {reason}") from error
