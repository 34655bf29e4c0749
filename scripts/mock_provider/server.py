"""The mock provider's HTTP/1.1 server: asyncio streams, keepalive, chunked bodies both ways."""

import asyncio
import collections
import dataclasses
import gzip
import json
import socket
import struct
import time
import zlib

from mock_provider.answers import CREATED, DIALECTS, BadRequest, controls_in_text, error_body, sse

MODELS = ["gpt-4o-mini", "text-embedding-3-small", "claude-sonnet-4-5"]
MAX_HEAD = 1 << 20
KEPT_REQUESTS = 20_000
UNRECORDED = {"version", "raw_body"}


@dataclasses.dataclass
class Request:
    method: str
    path: str
    version: str
    headers: dict  # names in lower case
    raw_body: bytes
    body: object = None
    received_at: float = dataclasses.field(default_factory=time.time)
    sent: list = dataclasses.field(default_factory=list)
    finished_at: float | None = None
    aborted: bool = False

    def keeps_alive(self):
        wish = self.headers.get("connection", "").lower()
        return wish != "close" if self.version == "HTTP/1.1" else wish == "keep-alive"

    def record(self):
        return {name: value for name, value in vars(self).items() if name not in UNRECORDED}


async def read_request(reader):
    """The next request of a connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    start, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, path, version = start.split(" ")
    headers = {}
    for line in lines:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await read_chunked(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path.partition("?")[0], version, headers, body)


async def read_chunked(reader):
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass  # trailers
    return bytes(body)


def encodes(request, controls):
    wish = controls.get("gzip")
    accepted = "gzip" in request.headers.get("accept-encoding", "")
    return wish == "force" or bool(wish and accepted)


class Response:
    def __init__(self, request, writer, controls):
        self.request, self.writer, self.controls = request, writer, controls
        self.gzip = encodes(request, controls)
        self.chunked = request.version == "HTTP/1.1"

    def head(self, status, content_type, length=None):
        lines = [
            f"HTTP/1.1 {status} Mock",
            f"Content-Type: {content_type}",
            "X-Request-Id: req_mock",
        ]
        if self.gzip:
            lines.append("Content-Encoding: gzip")
        if "retry_after" in self.controls:
            lines.append(f"Retry-After: {self.controls['retry_after']}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif self.chunked:
            lines.append("Transfer-Encoding: chunked")
        if not self.request.keeps_alive():
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def whole(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.gzip:
            data = gzip.compress(data, mtime=0)
        await self.send(self.head(status, "application/json", len(data)) + data)

    async def pieces(self, data):
        size = self.controls.get("split") or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            await asyncio.sleep(0)

    async def stream(self, events):
        """Sends the events at their pace; False if the connection was cut on request."""
        await self.send(self.head(200, "text/event-stream; charset=utf-8"))
        packer = zlib.compressobj(wbits=31) if self.gzip else None
        cut_after, delay = self.controls.get("cut_after"), self.controls.get("chunk_delay_ms", 0)
        deltas = 0
        for is_delta, event in events:
            if is_delta and deltas == cut_after:
                return False
            deltas += is_delta
            if is_delta and delay:
                await asyncio.sleep(delay / 1000)
            self.request.sent.append(time.time())
            data = packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) if packer else event
            await self.pieces(data)
        if packer:
            await self.pieces(packer.flush())
        await asyncio.sleep(self.controls.get("end_delay_ms", 0) / 1000)
        if self.chunked:
            await self.send(b"0\r\n\r\n")
        return True


class Provider:
    def __init__(self, behaviour, log):
        self.start_behaviour = behaviour
        self.log = log
        self.reset()

    def reset(self):
        self.behaviour = dict(self.start_behaviour)
        self.count = 0
        self.requests = collections.deque(maxlen=KEPT_REQUESTS)

    async def serve(self, reader, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Closed with a linger of zero seconds, a connection is reset: that is the cut.
        cut = False
        try:
            while request := await read_request(reader):
                cut = not await self.answer(request, reader, writer)
                if cut or not request.keeps_alive():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # gone, or not HTTP
        finally:
            if cut:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            writer.close()

    async def answer(self, request, reader, writer):
        if request.path.startswith("/__"):
            return await self.control(request, writer)
        self.count += 1
        self.requests.append(request)
        try:
            done = await self.call(request, reader, writer)
            request.aborted = not done
            return done
        except ConnectionError:
            request.aborted = True
            raise
        finally:
            request.finished_at = time.time()
            if self.log:
                print(
                    request.method,
                    request.path,
                    "aborted" if request.aborted else "done",
                    flush=True,
                )

    async def control(self, request, writer):
        response = Response(request, writer, {})
        action = (request.method, request.path)
        if action == ("GET", "/__requests"):
            records = [kept.record() for kept in self.requests]
            await response.whole(200, {"count": self.count, "requests": records})
        elif action == ("POST", "/__reset"):
            self.reset()
            await response.whole(200, {})
        elif action == ("POST", "/__behave"):
            self.behaviour = json.loads(request.raw_body)
            await response.whole(200, self.behaviour)
        else:
            await response.whole(404, error_body(request.path, 404, "unknown control"))
        return True

    async def call(self, request, reader, writer):
        try:
            controls, dialect = self.understand(request)
        except BadRequest as error:
            await Response(request, writer, {}).whole(
                400, error_body(request.path, 400, str(error))
            )
            return True
        response = Response(request, writer, controls)
        if controls.get("hang"):
            await reader.read()  # until the client leaves
            return False
        await asyncio.sleep(controls.get("delay_ms", 0) / 1000)
        if (status := controls.get("status", 200)) != 200:
            await response.whole(status, error_body(request.path, status, f"mock error {status}"))
        elif dialect is None:
            await self.list_models(request, response)
        elif request.body.get("stream") and dialect.events:
            events = [(True, sse("{not json"))] if controls.get("garbage") else dialect.events()
            return await response.stream(events)
        elif controls.get("cut_after") is not None:
            return False
        else:
            await response.whole(
                200, b"<html>not json" if controls.get("garbage") else dialect.whole()
            )
        return True

    def understand(self, request):
        """(controls, dialect) of a request; no dialect: not a call of a model."""
        controls = dict(self.behaviour)
        try:
            request.body = json.loads(request.raw_body) if request.raw_body else None
            header = json.loads(request.headers.get("x-mock", "{}"))
        except ValueError as error:
            raise BadRequest(f"not JSON: {error}") from error
        make = DIALECTS.get(request.path) if request.method == "POST" else None
        if make is None:
            return controls | header, None
        if not isinstance(request.body, dict):
            raise BadRequest("the body is not an object")
        controls |= controls_in_text(request.body) | header
        return controls, make(request.body, controls)

    async def list_models(self, request, response):
        if (request.method, request.path) != ("GET", "/v1/models"):
            message = f"unknown route {request.method} {request.path}"
            await response.whole(404, error_body(request.path, 404, message))
            return
        data = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "mock"}
            for name in MODELS
        ]
        await response.whole(200, {"object": "list", "data": data})
