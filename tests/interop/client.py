#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Case 26: every method of DBOSClient 5.3.0, direct and through PgBouncer."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients

sys.exit(clients.main("tests/interop/client.mjs"))
