#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Schedules with DBOSClient 5.3.0 and a launched application, direct and through PgBouncer."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
from applications import Neighbourhood

sys.exit(clients.main("tests/interop/schedules.mjs", gateway=Neighbourhood))
