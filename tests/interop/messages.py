#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Conformance cases 1 to 7 with the official clients: 5.3.0 and 4.27.6, direct and through PgBouncer;
and what 4.27.6 leaves behind where it deletes."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients

sys.exit(clients.main("tests/interop/messages.mjs", clients.SDK_4))
