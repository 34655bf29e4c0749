"""A provider that answers every request with the very bytes that a test gives it.

An answer is bytes, or a list of pieces, each sent by itself; between two of them a function may stand,
which gets the connection and returns when the next piece is to follow.
"""

import contextlib
import pathlib
import socketserver
import threading

from support.waiting import wait_until


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head, length = [], 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            head.append(line.decode())
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.server.requests.append("".join(head))
        answer = self.server.answer
        for piece in [answer] if isinstance(answer, bytes) else answer:
            if callable(piece):
                piece(self.connection)
            else:
                self.wfile.write(piece)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def raw_provider(answer):
    """Yields (url, requests): what it received so far, as request heads."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer, server.requests = answer, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server.requests
        finally:
            server.shutdown()


def http_answer(status, *headers, body=b"{}"):
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def taken(connection):
    """Until the other side has read all that was sent on this connection."""
    ours = f"{connection.getsockname()[1]:04X}"
    theirs = f"{connection.getpeername()[1]:04X}"

    def unread():
        lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        ends = {(row[1][-4:], row[2][-4:]): row[4].split(":") for row in rows}
        sent, _ = ends[ours, theirs]
        _, received = ends[theirs, ours]
        return int(sent, 16) + int(received, 16)

    wait_until(lambda: unread() == 0, "what was sent is read")
