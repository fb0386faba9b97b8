# SPDX-License-Identifier: MIT
"""What stands behind a front server, made to tell what it got.

    with Responder(path) as responder:      # FastCGI on a Unix socket
        …                                   # each request is answered 200, problem or none, see .answer
        responder.requests                  -> [Request]: variables (a dict), body
    with Upgrades(port) as upgrades:        # HTTP on a TCP port; hangs up on who wants a WebSocket
        upgrades.heads                      -> the heads of the requests, text
"""

import os
import socket
import struct
import threading

HEADER = struct.Struct(">BBHHBx")
BEGIN, ABORT, END, PARAMS, STDIN, STDOUT = 1, 2, 3, 4, 5, 6
TIMEOUT = 60.0


class Request:
    def __init__(self):
        self.variables, self.body = {}, b""


class _Server(threading.Thread):
    def __init__(self, listener):
        super().__init__(daemon=True)
        self.listener = listener
        self.listener.listen(128)
        self.connections = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(TIMEOUT)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                self.serve(connection.makefile("rwb"))
            except (OSError, EOFError):
                pass


def _exactly(file, count):
    data = file.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _pairs(data):
    """The name-value pairs of a FastCGI stream."""
    values, at = {}, 0

    def length():
        nonlocal at
        size = data[at]
        if size & 0x80:
            size = struct.unpack_from(">I", data, at)[0] & 0x7FFFFFFF
            at += 3
        at += 1
        return size

    while at < len(data):
        name_length, value_length = length(), length()
        name = data[at : at + name_length].decode("latin-1")
        values[name] = data[at + name_length : at + name_length + value_length].decode("latin-1")
        at += name_length + value_length
    return values


class Responder(_Server):
    """`answer`: what it says, a whole CGI response; b"": it closes the connection instead."""

    def __init__(self, path):
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o666)
        super().__init__(listener)
        self.requests = []
        self.answer = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nhere"

    def serve(self, file):
        request, params, ended = Request(), b"", False
        while not ended:
            _, kind, number, length, padding = HEADER.unpack(_exactly(file, HEADER.size))
            content = _exactly(file, length)
            _exactly(file, padding)
            if kind == PARAMS:
                params += content
            elif kind == STDIN:
                request.body += content
                ended = length == 0
        request.variables = _pairs(params)
        self.requests.append(request)
        if self.answer:
            for kind, content in (
                (STDOUT, self.answer),
                (STDOUT, b""),
                (END, struct.pack(">IB3x", 0, 0)),
            ):
                file.write(HEADER.pack(1, kind, number, len(content), 0) + content)
            file.flush()


class Upgrades(_Server):
    def __init__(self, port):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        super().__init__(listener)
        self.heads = []

    def serve(self, file):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = file.readline()
            if not line:
                raise EOFError
            head += line
        self.heads.append(head.decode("latin-1"))
        file.write(
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        file.flush()
