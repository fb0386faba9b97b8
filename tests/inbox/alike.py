#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a client says of its deliveries: a frame and a body with the same members fare the same."""

import sys

from stage import Refused, Stage
from tap import Tap

tap = Tap()

INVALID = "INVALID_REQUEST"
GONE = {"deliveryId": "1.0123456789abcdef"}
MANY = [f"1.{i}" for i in range(1001)]
YEAR = 31536000000

# verb, members, the code of the refusal; None: it is answered
CASES = [
    ("nack", {}, INVALID),
    ("nack", {"deliveryId": ""}, INVALID),
    ("nack", {"deliveryId": None}, INVALID),
    ("nack", {"deliveryId": "1." + "a" * 63}, INVALID),
    ("nack", GONE, "STALE"),
    ("nack", {"deliveryIds": [GONE["deliveryId"]]}, "STALE"),
    ("nack", {"deliveryIds": ["1.a", "1.b"]}, INVALID),
    ("nack", {"deliveryIds": []}, INVALID),
    ("nack", {**GONE, "delayMs": -1}, INVALID),
    ("nack", {**GONE, "delayMs": 0}, "STALE"),
    ("nack", {**GONE, "delayMs": None}, "STALE"),
    ("nack", {**GONE, "delayMs": YEAR}, "STALE"),
    ("nack", {**GONE, "delayMs": YEAR + 1}, INVALID),
    ("nack", {**GONE, "delayMs": 1.5}, INVALID),
    ("nack", {**GONE, "reason": "x" * 1000}, "STALE"),
    ("nack", {**GONE, "reason": "x" * 1001}, INVALID),
    ("nack", {**GONE, "reason": "é" * 501}, INVALID),
    ("nack", {**GONE, "reason": 1}, INVALID),
    ("nack", {**GONE, "requeue": "no"}, INVALID),
    ("nack", {**GONE, "requeu": False}, INVALID),
    ("ack", {}, INVALID),
    ("ack", GONE, None),
    ("ack", {"deliveryIds": MANY}, INVALID),
    ("ack", {"deliveryIds": MANY[:1000]}, None),
    ("ack", {"deliveryIds": [1]}, INVALID),
    ("ack", {"deliveryIds": "1.a"}, INVALID),
    ("ack", {**GONE, "reply": "x"}, INVALID),
    ("extend", GONE, "STALE"),
    ("extend", {**GONE, "leaseMs": 999}, INVALID),
    ("extend", {**GONE, "leaseMs": 1000}, "STALE"),
    ("extend", {**GONE, "leaseMs": 3600001}, INVALID),
    ("extend", {**GONE, "lease": 1000}, INVALID),
]


def by_frame(bob, verb, members):
    try:
        bob.call(f"inbox.{verb}", members)
    except Refused as refusal:
        return refusal.code
    return None


def by_body(stage, verb, members):
    answer = stage.post(f"/agents/bob/inbox/{verb}", "bob", members)
    return None if answer.status == 200 else answer.json()["code"]


def brief(members):
    text = str(members)
    return text if len(text) < 60 else text[:57] + "..."


def refused_for_good(stage, bob):
    """And what is taken does the same."""
    for key in ("a1", "a2"):
        stage.accept("alice", "bob", key)
    frame, body = stage.pull("bob", max=2)
    members = {"requeue": False, "reason": "x" * 1000}
    one = bob.call("inbox.nack", {"deliveryId": frame["deliveryId"], **members})
    two = stage.nack("bob", body, **members)
    tap.equal((one, two), ({"status": "dead", "attempt": 1},) * 2, "refused for good by either")


with Stage() as stage, stage.connect("bob") as bob:
    for verb, members, code in CASES:
        tap.equal(
            (by_frame(bob, verb, members), by_body(stage, verb, members)),
            (code, code),
            f"{verb} {brief(members)}",
        )
    refused_for_good(stage, bob)
sys.exit(tap.done())
