"""A provider that answers every request with the very bytes that a test gives it."""

import contextlib
import socketserver
import threading


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head, length = [], 0
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            head.append(line.decode())
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.rfile.read(length)
        self.server.requests.append("".join(head))
        self.wfile.write(self.server.answer)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


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
