"""The mail server of the inbox: takes the mail of Alertmanager (RFC 5321), and sends none."""

import socketserver
from collections.abc import Callable

from stack.readiness import LOOPBACK
from stack.terminal import print_line

MAX_BYTES = 1_000_000
_MAX_LINE = 1_000
_IDLE_SECONDS = 20
_NEEDS_NO_MORE = {"MAIL", "RCPT", "RSET", "NOOP"}


class _Handler(socketserver.StreamRequestHandler):
    timeout = _IDLE_SECONDS
    server: "MailServer"

    def handle(self) -> None:
        try:
            self._converse()
        except OSError:
            return  # the sender left or said nothing for too long

    def _converse(self) -> None:
        self._reply("220 inbox")
        while line := self.rfile.readline(_MAX_LINE):
            verb = line.decode("ascii", "replace").strip().partition(" ")[0].upper()
            if verb in {"EHLO", "HELO"}:
                self._reply(f"250-inbox\r\n250 SIZE {MAX_BYTES}" if verb == "EHLO" else "250 inbox")
            elif verb in _NEEDS_NO_MORE:
                self._reply("250 ok")
            elif verb == "DATA":
                self._reply("354 end with a dot")
                content = self._content()
                if content is None:
                    self._reply(f"552 at most {MAX_BYTES} bytes")
                    return
                self.server.receive(content)
                self._reply("250 accepted")
            elif verb == "QUIT":
                self._reply("221 bye")
                return
            else:
                self._reply("502 not known here")

    def _content(self) -> bytes | None:
        """The lines up to a single dot, without doubled dots; `None` if they are too many."""
        lines, size = [], 0
        while (line := self.rfile.readline(MAX_BYTES)) and line.rstrip(b"\r\n") != b".":
            size += len(line)
            if size > MAX_BYTES:
                return None
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines)

    def _reply(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class MailServer(socketserver.ThreadingTCPServer):
    """Passes each mail on as it was sent.

    Args:
        port: Port to listen on; 0 takes a free one.
        receive: Takes a mail.
        host: Address to listen on.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, receive: Callable[[bytes], None], host: str = LOOPBACK) -> None:
        self.receive = receive
        super().__init__((host, port), _Handler)

    def handle_error(self, _request: object, client_address: object) -> None:
        """Log a failed conversation; it does not end the server."""
        print_line(f"mail from {client_address} failed")
