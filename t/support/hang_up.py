"""Clients that leave."""

import json
import socket
import struct

import h2.connection
import h2.events

from support.calls import CHAT
from support.nginx_conf import KEY


def hang_up(client, reset):
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


class Http2Client:
    """One connection that streams, and can reset a stream."""

    def __init__(self, one):
        self._socket = socket.create_connection(("127.0.0.1", one.port_h2), timeout=20)
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()

    def post(self, body):
        stream = self._h2.get_next_available_stream_id()
        headers = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": CHAT}
        headers["authorization"] = f"Bearer {KEY}"
        self._h2.send_headers(stream, headers.items())
        self._h2.send_data(stream, json.dumps(body).encode(), end_stream=True)
        self._socket.sendall(self._h2.data_to_send())
        return stream

    def read(self, stream, enough=None):
        """What comes of the stream's body, up to `enough` or its end."""
        body = b""
        while True:
            self._socket.sendall(self._h2.data_to_send())
            for event in self._h2.receive_data(self._socket.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    self._h2.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                    body += event.data if event.stream_id == stream else b""
                ended = isinstance(event, h2.events.StreamEnded) and event.stream_id == stream
                if ended or (enough and enough in body):
                    return body

    def reset(self, stream):
        self._h2.reset_stream(stream)
        self._socket.sendall(self._h2.data_to_send())

    def close(self):
        self._socket.close()
