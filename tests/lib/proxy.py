# SPDX-License-Identifier: MIT
"""A proxy before PgBouncer that disturbs one connection, once, at a chosen piece that it passes on.

    proxy = Proxy(bouncer, directory, 3, "answer")      # the third piece that the server says is lost
    proxy = Proxy(bouncer, directory, 3, "request", hold=True)      # … or waits for release()
    proxy.url("gateway"), proxy.happened (an Event), proxy.release(), proxy.close()

A piece is what one read gives.  Where it is lost, both ends of its connection are closed.
Everything before and after, and every other connection, goes through.
"""

import os
import select
import socket
import tempfile
import threading
import urllib.parse

PIECE = 65536


class Proxy:
    def __init__(self, server, directory, number, side, hold=False):
        assert side in ("answer", "request")
        self.number, self.side = number, side
        self.happened = threading.Event()
        self._released = None if not hold else threading.Event()
        self._server = server
        self._passed = 0
        self._lock = threading.Lock()
        self._open = set()
        self.host = tempfile.mkdtemp(prefix="cut-", dir=directory)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(self.host, f".s.PGSQL.{server.port}"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database):
        host = urllib.parse.quote(self.host, safe="")
        return (
            f"postgresql://{self._server.user}@localhost:{self._server.port}/{database}?host={host}"
        )

    def release(self):
        self._released.set()

    def close(self):
        if self._released is not None:
            self._released.set()
        # shutdown() wakes the thread that waits in accept(); close() alone would not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for end in self._open:
                end.close()
            self._open.clear()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _is_it(self, side):
        with self._lock:
            if side != self.side:
                return False
            self._passed += 1
            return self._passed == self.number

    def _serve(self, client):
        server = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._open |= {client, server}
        try:
            server.connect(os.path.join(self._server.host, f".s.PGSQL.{self._server.port}"))
            self._pass_on(client, server)
        except (OSError, ValueError):
            pass  # one end has gone, or close() was called
        finally:
            with self._lock:
                self._open -= {client, server}
            client.close()
            server.close()

    def _pass_on(self, client, server):
        while True:
            for end in select.select([client, server], [], [])[0]:
                side, other = ("request", server) if end is client else ("answer", client)
                data = end.recv(PIECE)
                if not data:
                    return
                if self._is_it(side):
                    self.happened.set()
                    if self._released is None:
                        return
                    self._released.wait()
                other.sendall(data)
