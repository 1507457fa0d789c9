"""The HTTP server of the inbox and the gate: a failed request does not end the server."""

import sys
from http.server import ThreadingHTTPServer

from stack.terminal import print_line


class Server(ThreadingHTTPServer):
    """Handles each request in a thread."""

    def handle_error(self, _request: object, client_address: object) -> None:
        """Log a failed request; ignore an output that cannot be written to."""
        print_line(f"request from {client_address} failed: {sys.exception()!r}")
