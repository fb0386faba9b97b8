#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance cases 1 to 7 with the official clients: 5.3.0 and 4.27.6, direct and through PgBouncer;
and what 4.27.6 leaves behind where it deletes."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
import node
from tap import Tap

SCRIPT = "tests/interop/messages.mjs"


def main():
    clients.skip_without(node.SDK, clients.SDK_4)
    tap = Tap()
    with clients.Gateway() as gateway:
        only = sys.argv[1:]
        gateway.run(tap, SCRIPT, gateway.cluster, "5.3.0, direct", only=only)
        gateway.run(tap, SCRIPT, gateway.bouncer, "5.3.0, pooled", only=only)
        gateway.run(tap, SCRIPT, gateway.cluster, "4.27.6, direct", clients.SDK_4, only=only)
        gateway.run(tap, SCRIPT, gateway.bouncer, "4.27.6, pooled", clients.SDK_4, only=only)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
