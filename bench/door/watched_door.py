"""A real Caddy with the door's configuration, and a witness in place of all that is behind it.

The witness counts connections: a request that reaches anything opens one.
"""

import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from stack.door import caddyfile, passages, service
from stack.door.passages import Upstreams
from stack.door.settings import DoorSettings
from stack.process.process import Process, Program
from stack.readiness import LOOPBACK, free_port

HOST = "watch.example.test"
USER, PASSWORD = "watch", "made-up-for-this-door-and-no-other"
SECRET = b"reached-what-is-behind"
"""What the witness answers."""
_PAGE = '<script>"inline"</script>'
_MAX_BYTES = 1_000_000


@dataclass
class Witness:
    """Listens as everything behind the door, and counts connections."""

    listener: socket.socket
    heads: list[bytes] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def serve(self) -> None:
        """Answer every connection until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            connection.settimeout(5)
            head = connection.recv(65536)
            with self.lock:
                self.heads.append(head)
            length = str(len(SECRET)).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + length
                + b"\r\n\r\n" + SECRET
            )  # fmt: skip

    @property
    def reached(self) -> int:
        """How many connections there were."""
        with self.lock:
            return len(self.heads)


@dataclass(frozen=True)
class WatchedDoor:
    """A door, and the witness behind it."""

    port: int
    witness: Witness

    @property
    def origin(self) -> str:
        """What browsers send in ``Origin``."""
        return f"https://{HOST}:{self.port}"

    @property
    def authority(self) -> str:
        """What they send in ``Host``."""
        return f"{HOST}:{self.port}"

    def send(self, request: bytes, *, name: str | None = HOST, seconds: float = 10.0) -> bytes:
        """Send bytes within TLS, and read until the connection ends or is silent.

        Args:
            request: The bytes.
            name: Name of the server in the handshake; `None` for none.
            seconds: How long the answer may take to begin.

        Raises:
            OSError: The connection or the handshake was refused.
        """
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection((LOOPBACK, self.port), timeout=seconds)
        with closing(context.wrap_socket(plain, server_hostname=name)) as connection:
            answer = b""
            with suppress(OSError):  # refused while it was sent: the answer is there already
                connection.sendall(request)
            with suppress(OSError):
                while len(answer) < _MAX_BYTES and (received := connection.recv(65536)):
                    answer += received
                    connection.settimeout(0.15)  # more than one response may come
            return answer


@contextmanager
def opened(caddy: str = "caddy", *, first: str = "") -> Iterator[WatchedDoor]:
    """Open a door on a free port.

    Args:
        caddy: The program.
        first: Address of the first of a pair, whose second one is the witness.
    """
    folder = Path(tempfile.mkdtemp(prefix="vitals-door-"))
    listener = socket.create_server((LOOPBACK, 0), backlog=200)
    witness = Witness(listener)
    Thread(target=witness.serve, daemon=True).start()
    behind = f"{LOOPBACK}:{listener.getsockname()[1]}"
    pair = f"{first} {behind}".strip()
    port = free_port()
    given = {"PUBLIC_URL": f"https://{HOST}:{port}", "PUBLIC_LISTEN": f"{LOOPBACK}:{port}"}
    settings = DoorSettings.read(given)
    assert settings  # noqa: S101 - there is a public address
    text = caddyfile.render(
        settings,
        passages.of_viewer(Upstreams(pair, pair, behind, behind)),
        storage=str(folder / "caddy"),
        users=service.users(settings, PASSWORD),
        policy=caddyfile.content_policy(_PAGE, settings.url.origin),
        answers={"/settings.json": service.viewer_settings()},
    )
    (folder / "Caddyfile").write_text(text)
    command = [caddy, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    process = Process(
        Program("door", command, env={"HOME": str(folder)}, cwd=folder), log=folder / "door.log"
    )
    try:
        process.start()
        process.wait_ready(lambda: service.answers(settings))
        yield WatchedDoor(port, witness)
    finally:
        process.stop()
        listener.close()
        shutil.rmtree(folder, ignore_errors=True)
