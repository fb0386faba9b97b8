# SPDX-License-Identifier: MIT
"""What goes wrong when: the same seed and length give the same faults in the same order.

    plan(seed, seconds, mean)   a list of Fault(at, kind, draw); mean: seconds between two faults
    draw                        in [0, 1): which of several victims, how long, …
"""

import collections
import random

Fault = collections.namedtuple("Fault", "at kind draw")

# kind: how often, and how long it takes by itself (seconds)
KINDS = {
    "kill responder worker": (3, 0.3),
    "kill responder master": (2, 0.5),
    "kill session of a sender": (3, 0.2),
    "kill session of a receiver": (6, 0.2),
    "kill websocketd": (2, 0.5),
    "kill sweeper": (3, 0.3),
    "kill relay": (3, 0.3),
    "restart relay": (1, 0.4),
    "kill front server": (1, 0.4),
    "kill PgBouncer": (2, 0.4),
    "restart PgBouncer": (2, 0.4),
    "pause PgBouncer": (2, 2.5),
    "kill PostgreSQL (immediate)": (3, 1.0),
    "restart PostgreSQL": (2, 1.0),
    "terminate backends in COMMIT": (3, 1.0),
    "stop session of a receiver": (2, 4.0),
    "stop responder worker": (1, 4.0),
    "stop sweeper": (1, 4.0),
    "stop relay": (2, 4.0),
    "cut HTTP sender": (3, 0.1),
    "cut WebSocket sender": (3, 0.1),
    "cut HTTP receiver": (3, 0.3),
    "cut WebSocket receiver": (3, 0.1),
    "take the inbox over": (2, 0.3),
}


def _kinds(chance):
    """Each once in an order of chance, and then each as often as it weighs, over and over."""
    deck = list(KINDS)
    while True:
        chance.shuffle(deck)
        yield from deck
        deck = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]


def plan(seed, seconds, mean):
    chance = random.Random(seed)
    faults = []
    at = 0.0
    for kind in _kinds(chance):
        at += mean * chance.uniform(0.5, 1.5)
        if at > seconds:
            return faults
        faults.append(Fault(round(at, 3), kind, chance.random()))
        at += KINDS[kind][1]
