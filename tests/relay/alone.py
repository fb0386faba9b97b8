#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Who calls often and has no company to share calls with is sent off, and called back when some comes."""

import sys

from cluster import skip_without
from crew import Crew, eventually, insist
from rig import skip_without_fault_points
from tap import Tap

COMPANY = [f"s{n}" for n in range(5)]  # one more than have nothing to share
tap = Tap()


class Sender:
    def __init__(self, crew):
        self.crew, self.count = crew, 0
        self.client = crew.join("alice")

    def send(self):
        """Was it by the relay?"""
        before = self.crew.served()
        self.count += 1
        params = {"to": "bob", "message": "m", "idempotencyKey": f"alone-{self.count:05}"}
        insist(self.client, params)
        return self.crew.served() > before

    def until(self, by_relay, what):
        eventually(lambda: self.send() == by_relay, what)


def main():
    skip_without("initdb", "psql", "pgbouncer")
    skip_without_fault_points()  # by whose log is seen who was asked
    with Crew(["alice", "bob", *COMPANY]) as crew:
        alice = Sender(crew)
        tap.ok(alice.send(), "a session begins with the relay")
        alice.until(False, "it calls directly")
        tap.ok(alice.count > 10, f"alone and busy it is sent off, after {alice.count} messages")
        tap.equal([alice.send() for _ in range(20)], [False] * 20, "and stays away")
        company = [crew.join(agent) for agent in COMPANY]
        tap.ok(alice.send(), "when others come it is called back")
        tap.ok(all(alice.send() for _ in range(100)), "and not sent off while they are here")
        for client in company:
            client.close()
        alice.until(False, "it calls directly again")
        tap.ok(True, "when they have gone it is sent off again")
        crew.relay.destroy()
        crew.relay.wait()
        for _ in range(3):
            alice.client.request("agents.list")
        tap.ok(True, "the relay's death meanwhile is nothing to it")
        crew.relay = crew.rig.relay()
        alice.until(True, "the next relay is asked")
        tap.ok(True, "and it comes to the next one")
        tap.equal(crew.stored("alone-"), alice.count, "each message was stored once")
        tap.equal(crew.relay.end(), 0, "the relay ends when it is asked to")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
