#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance cases 19 to 21 with DBOSClient 5.3.0 and two gateways, direct and through PgBouncer."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients

sys.exit(clients.main("tests/interop/queues.mjs"))
