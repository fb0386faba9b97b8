# SPDX-License-Identifier: MIT
"""A FastCGI client over a Unix socket, for tests: the responder without a web server.

    import fastcgi

    answer = fastcgi.request("/run/…/http.sock", "POST", "/messages", body={"to": "bob"}, token=T)
    answer.status, answer.json(), answer.headers["location"], answer.stderr

    with fastcgi.Connection(path) as connection:    # piece by piece, for what a server must survive
        connection.begin()
        connection.params({"REQUEST_METHOD": "GET", …})
        connection.stdin(b"…"); connection.stdin(b"")
        answer = connection.answer(timeout)

A connection that ends before the answer is complete raises Lost: whether the request had an
effect is then unknown.  A refused connection is an OSError: it had none.
"""

import json
import socket
import struct

VERSION = 1
BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
RESPONDER = 1
KEEP_CONNECTION = 1
RECORD_MAX = 65535
HEADER = struct.Struct(">BBHHBx")
TIMEOUT = 15.0


class Lost(Exception):
    """The connection ended, or the time was up, before the answer was complete."""


class Answer:
    def __init__(self, output, errors, application_status):
        head, _, self.body = output.partition(b"\r\n\r\n")
        self.stderr = errors
        self.application_status = application_status
        self.headers = {}
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.status = int(self.headers.get("status", "200").split()[0])

    def json(self):
        return json.loads(self.body)


class Connection:
    def __init__(self, path, timeout=TIMEOUT):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def record(self, kind, content=b"", identity=1):
        assert len(content) <= RECORD_MAX
        self.socket.sendall(HEADER.pack(VERSION, kind, identity, len(content), 0) + content)

    def begin(self, role=RESPONDER, flags=0):
        self.record(BEGIN_REQUEST, struct.pack(">HB5x", role, flags))

    @staticmethod
    def _length(number):
        return bytes([number]) if number < 128 else struct.pack(">I", number | 0x80000000)

    def params(self, variables, end=True):
        content = b""
        for name, value in variables.items():
            name, value = name.encode("latin-1"), value.encode("latin-1", "surrogateescape")
            content += self._length(len(name)) + self._length(len(value)) + name + value
        self.stream(PARAMS, content)
        if end:
            self.record(PARAMS)

    def stdin(self, content):
        """Part of the body; empty: its end."""
        self.stream(STDIN, content) if content else self.record(STDIN)

    def stream(self, kind, content):
        for start in range(0, len(content), RECORD_MAX):
            self.record(kind, content[start : start + RECORD_MAX])

    def _read(self, count):
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except OSError as error:
                raise Lost(str(error)) from error
            if not part:
                raise Lost("the connection ended before the answer was complete")
            data += part
        return data

    def answer(self, timeout=TIMEOUT):
        self.socket.settimeout(timeout)
        output, errors = b"", b""
        while True:
            _, kind, _, length, padding = HEADER.unpack(self._read(HEADER.size))
            content = self._read(length)
            self._read(padding)
            if kind == STDOUT:
                output += content
            elif kind == STDERR:
                errors += content
            elif kind == END_REQUEST:
                return Answer(output, errors, struct.unpack(">I", content[:4])[0])


def variables(method, path, body=None, token=None, headers=None, content_type="application/json"):
    """What lighttpd puts into a request."""
    path, _, query = path.partition("?")
    values = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "test",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "18789",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": method,
        "REQUEST_URI": path + ("?" + query if query else ""),
        "SCRIPT_NAME": path,
        "PATH_INFO": "",
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:18789",
    }
    if body is not None:
        values["CONTENT_LENGTH"] = str(len(body))
        values["CONTENT_TYPE"] = content_type
    if token is not None:
        values["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    for name, value in (headers or {}).items():
        values["HTTP_" + name.upper().replace("-", "_")] = value
    return values


def request(path, method, target, body=None, token=None, headers=None, timeout=TIMEOUT, **more):
    """One request, one connection.  body: bytes, or an object that becomes JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    with Connection(path, timeout) as connection:
        try:
            connection.begin()
            connection.params(variables(method, target, body, token, headers, **more))
            if body:
                connection.stdin(body)
            connection.stdin(b"")
        except OSError as error:
            raise Lost(str(error)) from error
        return connection.answer(timeout)
