#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Case 26: every method of DBOSClient 5.3.0, direct and through PgBouncer."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
import node
from tap import Tap

SCRIPT = "tests/interop/client.mjs"


def main():
    clients.skip_without(node.SDK)
    tap = Tap()
    with clients.Gateway() as gateway:
        only = sys.argv[1:]
        gateway.run(tap, SCRIPT, gateway.cluster, "direct", only=only)
        gateway.run(tap, SCRIPT, gateway.bouncer, "pooled", only=only)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
