"""Firefox and WebKit of Debian, by the protocols that each serves itself.

Playwright drives only builds of its own of these two, and Debian has no geckodriver: Firefox is
driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi), WebKit by W3C WebDriver.
"""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import websocket

WIDTH, HEIGHT = 1440, 2600
"""So tall that all panels are rendered."""
_STARTS_SECONDS = 120.0
_ANSWERS_SECONDS = 120.0
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_DISPLAY = re.compile(r"^\d+$")


class Engine(Protocol):
    """A browser with one window."""

    def open(self, url: str) -> None:
        """Load a page."""

    def evaluate(self, function: str) -> Any:
        """Call a JavaScript function without parameters; its result is JSON."""


class Firefox:
    """A session of WebDriver BiDi."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(
            f"{url}/session", timeout=_ANSWERS_SECONDS, suppress_origin=True
        )
        self._numbers = itertools.count(1)
        self._call("session.new", capabilities={})
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]
        size = {"width": WIDTH, "height": HEIGHT}
        self._call("browsingContext.setViewport", context=self._context, viewport=size)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") != number:
                continue  # an event
            if answer["type"] == "error":
                raise RuntimeError(f"{method}: {answer['message']}")
            result: dict[str, Any] = answer["result"]
            return result

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, function: str) -> Any:
        """Call a JavaScript function without parameters; its result is JSON."""
        answer = self._call(
            "script.evaluate",
            expression=f"JSON.stringify(({function})())",
            target={"context": self._context},
            awaitPromise=False,
        )
        if answer["type"] != "success":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def close(self) -> None:
        """End the session."""
        self._socket.close()


class WebKit:
    """A session of W3C WebDriver."""

    def __init__(self, url: str, browser: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=_ANSWERS_SECONDS, trust_env=False)
        options = {"binary": str(browser), "args": ["--automation"]}
        always = {"webkitgtk:browserOptions": options}
        session = self._call("/session", capabilities={"alwaysMatch": always})["sessionId"]
        self._client.base_url = httpx.URL(f"{url}/session/{session}")
        self._call("/window/rect", x=0, y=0, width=WIDTH, height=HEIGHT)

    def _call(self, path: str, **body: Any) -> Any:
        answer = self._client.post(path, json=body)
        if answer.is_error:
            raise RuntimeError(f"{path}: {answer.text}")
        return answer.json()["value"]

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("/url", url=url)

    def evaluate(self, function: str) -> Any:
        """Call a JavaScript function without parameters; its result is JSON."""
        script = f"return JSON.stringify(({function})())"
        return json.loads(self._call("/execute/sync", script=script, args=[]))

    def close(self) -> None:
        """End the session and its browser."""
        self._client.delete("")
        self._client.close()


@contextmanager
def firefox(folder: Path) -> Iterator[Engine]:
    """Firefox without a screen, with a profile in the folder."""
    (folder / "profile").mkdir()
    command = ["firefox-esr", "--headless", "--no-remote", "--remote-debugging-port=0"]
    command += ["--profile", str(folder / "profile"), "about:blank"]
    environment = {"HOME": str(folder), "TZ": "UTC"}
    log = folder / "firefox.log"
    with (
        _running(command, log, environment),
        closing(Firefox(_awaited(log, _LISTENING))) as session,
    ):
        yield session


@contextmanager
def webkit(folder: Path, port: int, locale: str) -> Iterator[Engine]:
    """WebKit on a screen of its own, in a locale.

    Args:
        folder: For its files.
        port: A free port.
        locale: Such as `C`, which is what a system without a locale has.
    """
    browser = min(Path("/usr/lib").glob("*/webkit2gtk-4*/MiniBrowser"))
    screen = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "1600x2800x24"]
    with _running(screen, folder / "screen.log", {}):
        display = _awaited(folder / "screen.log", _DISPLAY)
        environment = {
            "DISPLAY": f":{display}",
            "HOME": str(folder),
            "LC_ALL": locale,
            "TZ": "UTC",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
        }
        command = ["WebKitWebDriver", "--host=127.0.0.1", f"--port={port}"]
        with _running(command, folder / "webkit.log", environment):
            url = f"http://127.0.0.1:{port}"
            _until_ready(url)
            with closing(WebKit(url, browser)) as session:
                yield session


def missing(*programs: str) -> list[str]:
    """Those of the programs that are not installed."""
    return [program for program in programs if not shutil.which(program)]


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a program with all its processes until the block ends."""
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=kept | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _awaited(log: Path, wanted: re.Pattern[str]) -> str:
    """What a program says in its log when it is ready."""
    deadline = time.monotonic() + _STARTS_SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if found := wanted.search(line):
                return found[1] if found.groups() else found[0]
        time.sleep(0.1)
    raise TimeoutError(f"{log.name} says nothing of {wanted.pattern!r}: {log.read_text()[-2000:]}")


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + _STARTS_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/status", trust_env=False).json()["value"]["ready"]:
                return
        except (httpx.TransportError, KeyError):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{url} does not become ready")
        time.sleep(0.1)
