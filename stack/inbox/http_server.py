"""The HTTP server of our own small programs: a request that fails ends no more than itself."""

import sys
from http.server import ThreadingHTTPServer

from stack.terminal import tell


class Server(ThreadingHTTPServer):
    """Answers each request in a thread."""

    def handle_error(self, _request: object, client_address: object) -> None:
        """Tell of a request that failed, though nobody may be able to read it."""
        tell(f"a request from {client_address} failed: {sys.exception()!r}")
