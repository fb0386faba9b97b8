# SPDX-License-Identifier: MIT
"""What a client did and was told, one JSON object a line: the evidence that the checker judges.

    history = History(path, "sender-1")
    history.note("send", key="k1", to="bob")
    history.load_all(directory)  -> every event of every client, by time

The events, and what the checker reads of them:

    send        key, sender, to         a request went out (again, with the same key: a retry)
    accepted    key, workflow           it was answered as accepted
    refused     key, code               it was answered as refused: for good
    unknown     key, why                the connection was lost, or the answer asked for a retry
    told        workflow, status        the sender learnt how its message ended
    delivered   delivery, message, workflow, seq, attempt, sender, inbox     an inbox.message arrived
    ack         delivery                the confirmation went out
    acked, already, stale    delivery   what it was answered with
    nack        delivery                a refusal went out
    nacked      delivery, state         and was answered
    fault       kind, target            the test did this, and saw that it happened
"""

import glob
import json
import os
import threading
import time


class History:
    def __init__(self, path, client):
        self.path = path
        self.client = client
        self._lock = threading.Lock()
        self._file = open(path, "a", encoding="utf-8", buffering=1)

    def note(self, event, **fields):
        line = {"at": time.time(), "client": self.client, "event": event, **fields}
        with self._lock:
            self._file.write(json.dumps(line) + "\n")

    def close(self):
        self._file.close()


def load(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def load_all(directory):
    events = []
    for path in sorted(glob.glob(os.path.join(directory, "*.jsonl"))):
        events += load(path)
    return sorted(events, key=lambda e: e["at"])
