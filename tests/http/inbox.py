#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The inbox for clients without a WebSocket, and the registry of agents."""

import sys
import threading
import time

from cluster import skip_without
from responder import Gateway, Responder
from tap import Tap

tap = Tap()


def code_of(answer):
    return (answer.status, answer.json().get("code"))


def send(http, token, content, **more):
    return http.post("/messages", {"to": "bob", "content": content, **more}, token=token).json()


def pull_and_answer(gateway, http, alice, bob):
    sent = [send(http, alice, i)["workflowUuid"] for i in range(3)]
    answer = http.get("/agents/bob/inbox?max=2", token=bob)
    first, second = answer.json()["messages"]
    tap.equal([first["workflowUuid"], second["workflowUuid"]], sent[:2], "the oldest come first")
    tap.equal(
        (first["from"], first["to"], first["content"], first["attempt"], first["redelivered"]),
        ("alice", "bob", 0, 1, False),
        "a message is whole",
    )
    handed = gateway.value("select count(*) from openclaw.inbox where handed")
    tap.equal(handed, "2", "what was written to the client is noted as handed over")
    status = http.get(f"/workflows/{sent[0]}/events", token=alice).json()["events"]
    tap.ok("delivered" in [e["key"] for e in status], "and the sender can see it")

    ack = {"deliveryIds": [first["deliveryId"], "999.none", "nonsense"], "result": {"done": True}}
    body = http.post("/agents/bob/inbox/ack", ack, token=bob).json()
    tap.equal(
        body, {"acked": [first["deliveryId"]], "already": [], "stale": ["999.none", "nonsense"]},
        "acknowledged, with what is not current told apart",
    )
    body = http.post("/agents/bob/inbox/ack", ack, token=bob).json()
    tap.equal(body["already"], [first["deliveryId"]], "twice is as good as once")
    workflow = http.get(f"/workflows/{sent[0]}", token=alice).json()
    tap.equal(
        (workflow["status"], workflow["output"]["status"], workflow["output"]["response"]),
        ("SUCCESS", "acknowledged", {"done": True}),
        "and the sender's workflow says so",
    )

    body = http.post(
        "/agents/bob/inbox/extend", {"deliveryIds": [second["deliveryId"]], "leaseMs": 60000}, token=bob
    ).json()
    tap.equal(body["extended"], 1, "a lease is lengthened")
    tap.ok(body["leaseExpiresAt"] > second["leaseExpiresAt"], "and says until when")
    body = http.post(
        "/agents/bob/inbox/nack",
        {"deliveryId": second["deliveryId"], "delayMs": 0, "reason": "not now"}, token=bob,
    ).json()
    tap.equal((body["status"], body["attempt"]), ("requeued", 1), "a refusal gives it back")
    answer = http.post("/agents/bob/inbox/nack", {"deliveryId": second["deliveryId"]}, token=bob)
    tap.equal(code_of(answer), (409, "STALE"), "its delivery is over")
    answer = http.post("/agents/bob/inbox/extend", {"deliveryId": second["deliveryId"]}, token=bob)
    tap.equal(code_of(answer), (409, "STALE"), "also for a lease")
    again = http.get("/agents/bob/inbox", token=bob).json()["messages"]
    tap.equal([m["workflowUuid"] for m in again], sent[1:], "it comes again, before the later one")
    tap.equal((again[0]["attempt"], again[0]["redelivered"]), (2, True), "as what it is")
    body = http.post(
        "/agents/bob/inbox/nack", {"deliveryId": again[0]["deliveryId"], "requeue": False}, token=bob
    ).json()
    tap.equal(body["status"], "dead", "or never again")
    workflow = http.get(f"/workflows/{sent[1]}", token=alice).json()
    tap.equal((workflow["status"], workflow["output"]), ("ERROR", None), "and its workflow has failed")
    tap.ok(workflow["error"]["message"], "and says why")
    http.post("/agents/bob/inbox/ack", {"deliveryId": again[1]["deliveryId"]}, token=bob)
    tap.equal(http.get("/agents/bob/inbox", token=bob).json(), {"messages": []}, "then there is nothing")


def waiting(http, alice, bob):
    began = time.monotonic()
    body = http.get("/agents/bob/inbox?wait=1", token=bob).json()
    tap.equal(body, {"messages": []}, "a pull that waits in vain is empty")
    tap.ok(0.9 < time.monotonic() - began < 15, "after its time")
    result = []
    thread = threading.Thread(
        target=lambda: result.append(http.get("/agents/bob/inbox?wait=20", token=bob).json())
    )
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    send(http, alice, "soon")
    thread.join(30)
    tap.equal([m["content"] for m in result[0]["messages"]], ["soon"], "a pull that waits hears of it")
    tap.ok(time.monotonic() - began < 15, "within its look")
    ids = [m["deliveryId"] for m in result[0]["messages"]]
    http.post("/agents/bob/inbox/ack", {"deliveryIds": ids}, token=bob)


def revoked(gateway, http, alice, bob):
    """Who loses its token while its pull waits is given nothing any more."""
    old = "token-of-bob-before"
    gateway.execute(
        "insert into openclaw.credential (token_sha256, principal_id)"
        f" values (encode(sha256('{old}'), 'hex'), 'bob')"
    )
    result = []
    thread = threading.Thread(target=lambda: result.append(http.get("/agents/bob/inbox?wait=30", token=old)))
    thread.start()
    time.sleep(0.5)
    gateway.execute(
        "update openclaw.credential set revoked_at = openclaw.now_ms()"
        f" where token_sha256 = encode(sha256('{old}'), 'hex')"
    )
    time.sleep(6)
    send(http, alice, "for the new one")
    thread.join(60)
    tap.equal(code_of(result[0]), (401, "UNAUTHORIZED"), "a pull whose token ended while it waited")
    got = http.get("/agents/bob/inbox", token=bob).json()["messages"]
    tap.equal([(m["content"], m["attempt"]) for m in got], [("for the new one", 1)], "took nothing")
    http.post("/agents/bob/inbox/ack", {"deliveryIds": [m["deliveryId"] for m in got]}, token=bob)


def portions(gateway, http, alice, bob):
    body = http.post(
        "/messages/batch", [{"to": "bob", "content": i} for i in range(35)], token=alice
    ).json()
    tap.equal(body["accepted"], 35, "many are sent")
    got = http.get("/agents/bob/inbox?max=33", token=bob).json()["messages"]
    tap.equal([m["content"] for m in got], list(range(33)), "as many as asked for come, in order")
    got = http.get("/agents/bob/inbox?max=100", token=bob).json()["messages"]
    tap.equal([m["content"] for m in got], [33, 34], "then the rest")
    gateway.execute("update openclaw.inbox set state = 'acked' where state <> 'acked';")
    for i in range(12):
        send(http, alice, "x" * 200000)
    got = http.get("/agents/bob/inbox?max=100", token=bob).json()["messages"]
    tap.equal(len(got), 10, "large ones come in several answers")
    got = http.get("/agents/bob/inbox?max=100", token=bob).json()["messages"]
    tap.equal(len(got), 2, "but they come")
    gateway.execute("update openclaw.inbox set state = 'acked' where state <> 'acked';")


def strangers(http, alice, bob, root):
    not_found = (404, "NOT_FOUND")
    send(http, alice, "secret")
    for path in ("/agents/bob/inbox", "/agents/nobody/inbox", "/agents/a b/inbox".replace(" ", "%20")):
        tap.equal(code_of(http.get(path, token=alice)), not_found, f"no inbox of others: {path}")
    delivery = http.get("/agents/bob/inbox", token=bob).json()["messages"][0]["deliveryId"]
    for verb in ("ack", "nack", "extend"):
        answer = http.post(f"/agents/bob/inbox/{verb}", {"deliveryId": delivery}, token=alice)
        tap.equal(code_of(answer), not_found, f"nor {verb} in it")
    body = http.post("/agents/alice/inbox/ack", {"deliveryId": delivery}, token=alice).json()
    tap.equal(body["stale"], [delivery], "another's delivery is nobody's in one's own")
    answer = http.post("/agents/alice/inbox/nack", {"deliveryId": delivery}, token=alice)
    tap.equal(code_of(answer), (409, "STALE"), "also to refuse")
    tap.equal(http.get("/agents/bob/inbox", token=root).status, 200, "an operator may read all")

    tap.equal(
        [a["agentId"] for a in http.get("/agents", token=root).json()["agents"]], ["alice", "bob"],
        "an operator sees all agents",
    )
    tap.equal(
        [a["agentId"] for a in http.get("/agents", token=alice).json()["agents"]], ["alice"],
        "an agent itself",
    )
    tap.equal(http.get("/agents/alice", token=alice).json()["agentId"], "alice", "also by name")
    tap.equal(code_of(http.get("/agents/bob", token=alice)), not_found, "but nobody else")
    tap.equal(code_of(http.get("/agents/nobody", token=root)), not_found, "who is not there is not found")


def not_safe(gateway, http, alice, bob):
    """A pull takes messages; HEAD, which anybody may send who only looks, must not."""
    message = send(http, alice, "looked at")["workflowUuid"]
    for method in ("HEAD", "OPTIONS"):
        answer = http.send(method, "/agents/bob/inbox?max=5", token=bob)
        tap.equal(
            (answer.status, answer.body, answer.headers.get("allow")),
            ({"HEAD": 405, "OPTIONS": 204}[method], b"", "GET, OPTIONS"),
            f"{method} of an inbox takes nothing",
        )
    state = gateway.value(f"select state || attempt || handed from openclaw.inbox where workflow_uuid = '{message}'")
    tap.equal(state, "ready0false", "and no attempt is counted")
    got = http.get("/agents/bob/inbox", token=bob).json()["messages"]
    tap.equal([(m["content"], m["attempt"]) for m in got], [("looked at", 1)], "it comes to who asks")
    http.post("/agents/bob/inbox/ack", {"deliveryIds": [got[0]["deliveryId"]]}, token=bob)


def refusals(http, bob):
    bad = (400, "INVALID_REQUEST")
    for query in ("max=0", "max=101", "max=x", "wait=31", "wait=-1", "leaseMs=1", "other=1"):
        answer = http.get(f"/agents/bob/inbox?{query}", token=bob)
        tap.equal(code_of(answer), bad, f"pull refuses {query}")
    for verb, body in (
        ("ack", {}), ("ack", {"deliveryIds": []}), ("ack", {"deliveryIds": [1]}),
        ("ack", {"deliveryIds": "x"}), ("ack", {"deliveryIds": ["x" * 65]}),
        ("ack", {"deliveryIds": ["x"] * 1001}), ("nack", {}), ("nack", {"deliveryId": 1}),
        ("nack", {"deliveryId": "1.a", "delayMs": -2}), ("nack", {"deliveryId": "1.a", "requeue": 1}),
        ("extend", {"deliveryIds": ["1.a"], "leaseMs": 1}), ("extend", {"leaseMs": 5000}),
    ):
        answer = http.post(f"/agents/bob/inbox/{verb}", body, token=bob)
        tap.equal(code_of(answer), bad, f"{verb} refuses {str(body)[:60]}")


def main():
    skip_without("initdb", "psql")
    with Gateway() as gateway:
        alice, bob, root = gateway.agent("alice"), gateway.agent("bob"), gateway.operator("root")
        with Responder(gateway.cluster, {"HTTP_THREADS": 8}) as http:
            pull_and_answer(gateway, http, alice, bob)
            waiting(http, alice, bob)
            revoked(gateway, http, alice, bob)
            portions(gateway, http, alice, bob)
            strangers(http, alice, bob, root)
            not_safe(gateway, http, alice, bob)
            refusals(http, bob)
            tap.equal(http.events("http.failure"), [], "nothing was our own failure")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
