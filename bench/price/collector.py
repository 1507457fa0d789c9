"""A collector that answers as each alternative's does, and counts what arrives.

``python collector.py PORT``; ``GET /counts`` tells requests and bytes by path.
"""

import asyncio
import json
import sys
from collections import Counter

ANSWERS = {
    "/info": b'{"endpoints":["/v0.4/traces","/v0.5/traces"],"client_drop_p0s":false}',
    "/v0.4/traces": b'{"rate_by_service":{}}',
    "/v0.5/traces": b'{"rate_by_service":{}}',
    "/": b'{"version":"8.19.0"}',
}
"""What Datadog's agent and Elastic's server answer; everything else gets an empty object."""

requests: Counter[str] = Counter()
sizes: Counter[str] = Counter()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, _ = head.split(" ", 2)
            path = path.partition("?")[0]
            size = await read_body(reader, head.lower())
            if path == "/counts":
                body = json.dumps({"requests": requests, "bytes": sizes}).encode()
            else:
                requests[path] += 1
                sizes[path] += size
                body = ANSWERS.get(path, b"" if path.startswith("/v1/") else b"{}")
            kind = "application/x-protobuf" if path.startswith("/v1/") else "application/json"
            status = "202 Accepted" if path.startswith("/intake") else "200 OK"
            answer = (
                f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write(answer.encode() + (b"" if method == "HEAD" else body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def read_body(reader: asyncio.StreamReader, head: str) -> int:
    """Read a body; returns its bytes."""
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if headers.get("transfer-encoding") != "chunked":
        size = int(headers.get("content-length", 0))
        await reader.readexactly(size)
        return size
    total = 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
        total += size
    await reader.readuntil(b"\r\n")
    return total


async def main() -> None:
    """Serve until the process is ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
