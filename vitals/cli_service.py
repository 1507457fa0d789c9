"""What the command ``vitals`` reads from a running service."""

import argparse
import json
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

PATH = "/vitals/bottlenecks"
TIMEOUT = 10
"""Seconds."""

Found = list[dict[str, Any]]


class CommandError(Exception):
    """An error to report on the command line, with what to do about it."""


def fetch_bottlenecks(arguments: argparse.Namespace) -> Found:
    """Read the bottlenecks page of a service.

    Raises:
        CommandError: It cannot be read; the message says what to do.
    """
    if not arguments.url.startswith(("http://", "https://")):
        raise CommandError(f"--url {arguments.url!r} must begin with http:// or https://")
    address = f"{arguments.url.rstrip('/')}{PATH}?range={arguments.range}"
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
        with opener.open(request, timeout=TIMEOUT) as response:
            found: Found = json.load(response)["bottlenecks"]
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
            f"cannot read bottlenecks from {arguments.url}: {error}; is it the service, and does "
            "it run?"
        ) from error
    return found


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
