#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Messages and mailboxes as workflows that DBOSClient 5.3.0 forks, rewinds, cancels, resumes, deletes."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients
from applications import Neighbourhood

sys.exit(clients.main("tests/interop/carriers.mjs", gateway=Neighbourhood))
