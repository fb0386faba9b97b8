# SPDX-License-Identifier: MIT
"""What crash tests do: each scenario runs one program under a fault, and then what its client does."""

import os
import threading
import time

import fastcgi
from checker import Checker
from history import History, load_all
from rig import Gone
from stack import Client, Refused
from transition import message

DRAIN_TIMEOUT = 20.0
LOST = (Gone, fastcgi.Lost, OSError, TimeoutError)


class Bench:
    """The rig, the histories, and what every scenario does."""

    def __init__(self, rig, directory):
        self.rig = rig
        self.directory = directory
        self.histories = {}
        self.drain_timeout = DRAIN_TIMEOUT

    def history(self, client):
        if client not in self.histories:
            path = os.path.join(self.directory, f"{client}.jsonl")
            self.histories[client] = History(path, client)
        return self.histories[client]

    # --- senders

    def note_answer(self, client, key, payload):
        """An answer to a send, of either face."""
        workflow = payload.get("workflowUuid") or f"alice:{payload['runId']}"
        self.history(client).note("accepted", key=key, workflow=workflow)
        status = payload.get("result", payload).get("status")
        if status in ("acknowledged", "failed", "expired", "ok", "error"):
            end = {"ok": "acknowledged", "error": "failed"}.get(status, status)
            self.history(client).note("told", workflow=workflow, status=end)
        return payload

    def post(self, key, prefer=None):
        history = self.history("http-sender")
        history.note("send", key=key, sender="alice", to="bob")
        headers = {"Idempotency-Key": key}
        if prefer:
            headers["Prefer"] = prefer
        body = {"to": "bob", "content": {"n": key}}
        try:
            answer = self.rig.http("POST", "/messages", body, self.rig.tokens["alice"], headers)
        except LOST as error:
            history.note("unknown", key=key, why=repr(error))
            return None
        if answer.status >= 500:
            history.note("unknown", key=key, why=answer.status)
            return None
        assert answer.status in (200, 202), (answer.status, answer.body)
        return self.note_answer("http-sender", key, answer.json())

    def ask(self, client, method, key, **params):
        """A request to send something, over a WebSocket session."""
        self.history("ws-sender").note("send", key=key, sender="alice", to="bob")
        try:
            payload = client.request(method, {"message": key, "idempotencyKey": key, **params})
        except (Refused, *LOST) as error:
            self.history("ws-sender").note("unknown", key=key, why=repr(error))
            raise
        return self.note_answer("ws-sender", key, payload)

    # --- receivers

    def note_delivery(self, payload):
        self.history("receiver").note(
            "delivered",
            delivery=payload["deliveryId"],
            seq=payload["inboxSeq"],
            message=payload["messageId"],
            sender=payload["from"],
            inbox=payload["inbox"],
            attempt=payload["attempt"],
        )

    def note_acks(self, delivery, answer):
        for outcome in ("acked", "already", "stale"):
            if delivery in answer[outcome]:
                self.history("receiver").note(outcome, delivery=delivery)

    def receive(self, client):
        payload = client.event("inbox.message")
        self.note_delivery(payload)
        return payload

    def acknowledge(self, client, payload, result="heard"):
        history = self.history("receiver")
        delivery = payload["deliveryId"]
        history.note("ack", delivery=delivery)
        answer = client.request("inbox.ack", {"deliveryIds": [delivery], "result": result})
        self.note_acks(delivery, answer)

    def subscribe(self, client):
        client.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 10, "exclusive": True})

    def unsettled(self):
        return self.rig.value(
            "select count(*) from openclaw.inbox where state in ('ready', 'leased')"
        )

    def drain(self):
        """A fresh receiver takes in and acknowledges whatever is there."""
        if not self.unsettled():
            return
        deadline = time.monotonic() + self.drain_timeout
        with self.rig.session("bob") as bob:
            self.subscribe(bob)
            while self.unsettled():
                assert time.monotonic() < deadline, "the inbox does not empty"
                try:
                    self.acknowledge(bob, self.receive_soon(bob))
                except TimeoutError:
                    pass

    def receive_soon(self, client):
        """As receive(), but TimeoutError where nothing comes for a moment."""
        if not any(event["event"] == "inbox.message" for event in client.events):
            frame = client.receive(0.2)
            if frame.get("type") == "event":
                client.events.append(frame)
            if frame.get("event") != "inbox.message":
                raise TimeoutError
        return self.receive(client)

    def violations(self):
        for history in self.histories.values():
            history.close()
        self.histories = {}
        return Checker(self.rig.value, load_all(self.directory)).check(settled=True)


class Scenario:
    """attempt(n, fault) runs the program under the fault and returns its Process, ended;
    again(n) is what the client does afterwards, on clean processes."""

    name = ""
    stride = 1  # every so many faults, unless the scenario is asked for by its name

    def __init__(self, bench):
        self.bench = bench
        self.rig = bench.rig

    def key(self, n):
        return f"{self.name}-{n}"

    def attempt(self, n, fault):
        raise NotImplementedError

    def again(self, n):
        pass


class AcceptHttp(Scenario):
    """POST /messages: accepted."""

    name = "accept-http"
    prefer = "respond-async"

    def attempt(self, n, fault):
        server = self.rig.server(fault)
        client = threading.Thread(target=self.act, args=(n,))
        client.start()
        self.meanwhile(client, server)
        while client.is_alive() and server.running() and not server.worker_died():
            client.join(0.005)
        if server.worker_died() or not server.running():
            server.destroy()  # else its master would start the same again
            client.join()
        else:
            client.join()
            server.end()
        return server

    def act(self, n):
        self.bench.post(self.key(n), self.prefer)

    def meanwhile(self, client, server):
        pass

    def again(self, n):
        server = self.rig.server()
        payload = self.bench.post(self.key(n), self.prefer)
        assert payload is not None, "a retry on a clean responder is answered"
        assert server.end() == 0, server.log()


class SettleHttp(AcceptHttp):
    """POST /messages with Prefer: wait: settled while the sender waits."""

    name = "settle-http"
    prefer = "wait=10"

    def meanwhile(self, client, server):
        with self.rig.session("bob") as bob:
            self.bench.subscribe(bob)
            while client.is_alive() and server.running() and not server.worker_died():
                try:
                    self.bench.acknowledge(bob, self.bench.receive_soon(bob))
                except TimeoutError:
                    pass

    def again(self, n):
        server = self.rig.server()
        self.bench.drain()
        done = []
        client = threading.Thread(
            target=lambda: done.append(self.bench.post(self.key(n), self.prefer))
        )
        client.start()
        while client.is_alive():
            self.bench.drain()
            client.join(0.05)
        assert done and done[0], "a retry on a clean responder is answered"
        assert done[0]["result"]["status"] == "acknowledged", done[0]
        assert server.end() == 0, server.log()


class SessionScenario(Scenario):
    """A session under a fault: act() until it ends, or the process does."""

    agent = "alice"

    def act(self, client, n):
        raise NotImplementedError

    def attempt(self, n, fault):
        pipes = self.rig.pipes(fault)
        try:
            client = Client(pipes, self.rig.tokens[self.agent])
            self.act(client, n)
        except LOST:
            pass
        except Refused as error:
            # stale and fenced: somebody else has it by now
            if error.code not in ("STALE", "FENCED") and not error.error.get("retryable"):
                raise
        pipes.close()
        return pipes.process


class AcceptWs(SessionScenario):
    """send over a WebSocket: accepted."""

    name = "accept-ws"

    def act(self, client, n):
        self.bench.ask(client, "send", self.key(n), to="bob")

    def again(self, n):
        with self.rig.session("alice") as client:
            self.act(client, n)


class Deliver(SessionScenario):
    """A message is delivered, and the connection ends."""

    name = "deliver"
    agent = "bob"

    def attempt(self, n, fault):
        with self.rig.session("alice") as alice:
            self.bench.ask(alice, "send", self.key(n), to="bob")
        return super().attempt(n, fault)

    def receive(self, client):
        self.bench.subscribe(client)
        return self.receive_next(client)

    def receive_next(self, client):
        while True:
            try:
                return self.bench.receive_soon(client)
            except TimeoutError:
                if not self.bench.unsettled():
                    raise  # somebody else has had it

    def act(self, client, n):
        self.receive(client)


class Acknowledge(Deliver):
    """A message is delivered and acknowledged."""

    name = "acknowledge"

    def act(self, client, n):
        self.bench.acknowledge(client, self.receive(client))


class HandOver(Deliver):
    """A message is handed over, with its acceptance, to a receiver that waits, and acknowledged."""

    name = "hand-over"

    def attempt(self, n, fault):
        return SessionScenario.attempt(self, n, fault)

    def act(self, client, n):
        self.bench.subscribe(client)
        self.again(n)
        self.bench.acknowledge(client, self.receive_next(client))

    def again(self, n):
        with self.rig.session("alice") as alice:
            self.bench.ask(alice, "send", self.key(n), to="bob")


class Stream(SessionScenario):
    """Several messages of one sender, few of them in flight: what is lost must not be overtaken."""

    name = "stream"
    agent = "bob"
    messages = 4

    def attempt(self, n, fault):
        with self.rig.session("alice") as alice:
            for number in range(self.messages):
                self.bench.ask(alice, "send", f"{self.key(n)}-{number}", to="bob")
        return super().attempt(n, fault)

    def act(self, client, n):
        client.request("inbox.subscribe", {"inbox": "bob", "maxInFlight": 3, "exclusive": True})
        held = []
        while self.bench.unsettled():
            try:
                held.append(self.bench.receive_soon(client))
            except TimeoutError:
                pass
            # one stays in flight while the next are taken
            if len(held) == 2 or held and self.bench.unsettled() == 1:
                self.bench.acknowledge(client, held.pop(0))


class Refuse(Deliver):
    """A message is delivered and refused for good: a dead letter."""

    name = "refuse"

    def act(self, client, n):
        payload = self.receive(client)
        self.bench.history("receiver").note("nack", delivery=payload["deliveryId"])
        answer = client.request(
            "inbox.nack", {"deliveryId": payload["deliveryId"], "requeue": False, "reason": "no"}
        )
        self.bench.history("receiver").note(
            "nacked", delivery=payload["deliveryId"], state=answer["status"]
        )


class SettleWs(SessionScenario):
    """agent over a WebSocket: the sender waits for the reply."""

    name = "settle-ws"

    def act(self, client, n):
        identity = client.start(
            "agent", {"agentId": "bob", "message": self.key(n), "idempotencyKey": self.key(n)}
        )
        self.bench.history("ws-sender").note("send", key=self.key(n), sender="alice", to="bob")
        first = client.answer(identity, final=False)
        if first["status"] == "accepted":
            self.bench.history("ws-sender").note(
                "accepted", key=self.key(n), workflow=f"alice:{first['runId']}"
            )
            self.bench.drain()
            first = client.answer(identity)
        self.bench.note_answer("ws-sender", self.key(n), first)
        assert first["status"] == "ok", first

    def again(self, n):
        with self.rig.session("alice") as client:
            self.act(client, n)


class InboxHttp(AcceptHttp):
    """GET an inbox, POST the acknowledgement: a recipient without WebSocket."""

    name = "inbox-http"

    def attempt(self, n, fault):
        with self.rig.session("alice") as alice:
            self.bench.ask(alice, "send", self.key(n), to="bob")
        return super().attempt(n, fault)

    def act(self, n):
        token = self.rig.tokens["bob"]
        history = self.bench.history("receiver")
        try:
            answer = self.rig.http("GET", "/agents/bob/inbox?max=10&wait=2", None, token)
            if answer.status >= 500:
                return
            for payload in answer.json()["messages"]:
                self.bench.note_delivery(payload)
                delivery = payload["deliveryId"]
                history.note("ack", delivery=delivery)
                body = {"deliveryIds": [delivery], "result": "heard"}
                answer = self.rig.http("POST", "/agents/bob/inbox/ack", body, token)
                if answer.status < 500:
                    self.bench.note_acks(delivery, answer.json())
        except LOST:
            pass

    def again(self, n):
        # the client holds the lease, so it outlives the responder; its time passes
        self.rig.execute("update openclaw.inbox set due_at = 0 where state = 'leased'")
        self.rig.sweep()
        server = self.rig.server()
        self.act(n)
        assert server.end() == 0, server.log()


class Provision(Scenario):
    """gatewayctl agent add."""

    name = "provision"

    def agent(self, n):
        return f"agent-{n}"

    def attempt(self, n, fault):
        process = self.rig.spawn("gatewayctl", "agent", "add", self.agent(n), "--json", fault=fault)
        process.wait(30)
        return process

    def again(self, n):
        name = self.agent(n)
        exists = self.rig.value(
            f"select count(*) from openclaw.principal where principal_id = '{name}'"
        )
        # what its own message says: add it, or where it is there, make it a token
        verb = "rotate" if exists == 1 else "add"
        answer = self.rig.ctl("agent", verb, name, "--json")
        self.rig.tokens[name] = answer["token"]
        with self.rig.session(name) as client:
            client.request("inbox.subscribe", {"inbox": name})
        row = self.rig.value(
            "select count(*) || ' ' || count(w.workflow_uuid) from openclaw.agent a"
            " left join dbos_system.workflow_status w on w.workflow_uuid = 'agent:' || a.agent_id"
            f" where a.agent_id = '{name}'"
        )
        assert row == "1 1", f"{name} and its mailbox: {row}"


class Life(AcceptHttp):
    """An agent's life over HTTP: provisioned, paused, resumed."""

    name = "life-http"

    def __init__(self, bench):
        super().__init__(bench)
        if "root" not in self.rig.tokens:
            answer = self.rig.ctl("principal", "add", "root", "--kind", "operator", "--json")
            self.rig.tokens["root"] = answer["token"]

    def ask(self, path, key, body, token="root"):
        """The answer where there is one; what is refused for good is a failure."""
        headers = {"Idempotency-Key": key, "Prefer": "wait=0"}
        try:
            answer = self.rig.http("POST", path, body, self.rig.tokens[token], headers)
        except LOST:
            return None
        if answer.status >= 500:
            return None
        assert answer.status in (200, 201, 202), (path, answer.status, answer.body)
        return answer.json()

    def agent(self, n):
        return f"{self.name}-{n}"

    def act(self, n):
        agent = self.agent(n)
        beat = {"enabled": True, "interval": "2h", "checklist": ["mail"]}
        body = {"agentId": agent, "persona": "Calm.", "model": "a/b", "heartbeat": beat}
        answers = [self.ask("/workflows/provision-agent", f"provision-{agent}", body)]
        for action in ("pause", "resume"):
            body = {"agentId": agent, "action": action}
            answers.append(self.ask("/workflows/pause-resume", f"{action}-{agent}", body))
        return answers

    def finish(self, n, workflows):
        """The sweeper and the recipient do what is theirs, until these have ended."""
        listed = ", ".join(f"'{workflow}'" for workflow in workflows)
        deadline = time.monotonic() + DRAIN_TIMEOUT
        ended = 0
        while ended < len(workflows):
            assert time.monotonic() < deadline, f"these do not end: {listed}"
            self.rig.sweep()
            self.bench.drain()
            ended = self.rig.value(
                "select count(*) from dbos_system.workflow_status"
                f" where workflow_uuid in ({listed}) and status = 'SUCCESS'"
            )

    def again(self, n):
        server = self.rig.server()
        answers = self.act(n)
        assert all(answers), "a retry on a clean responder is answered"
        assert server.end() == 0, server.log()
        agent = self.agent(n)
        self.finish(n, [f"root:{verb}-{agent}" for verb in ("provision", "pause", "resume")])
        row = self.rig.value(
            "select concat_ws(' ', a.status, a.persona, a.paused is null,"
            " (select count(*) from dbos_system.workflow_status w where w.name = 'heartbeat'"
            "  and w.status = 'DELAYED' and w.workflow_uuid like 'heartbeat:' || a.agent_id || ':%'),"
            " (select count(*) from openclaw.audit u where u.subject = a.agent_id and u.act = 'agent.set'))"
            f" from openclaw.agent a where a.agent_id = '{agent}'"
        )
        assert row == "active Calm. t 1 3", f"{agent}: {row}"
        # what is planned for two hours from now has no end for the checker to see
        self.rig.execute(
            f"select * from openclaw.agent_change('root', '{agent}', '{{\"heartbeat\":null}}', null)"
        )


class Ask(Life):
    """POST /chat and /workflows/heartbeat: questions that a workflow asks."""

    name = "ask-http"

    def act(self, n):
        chat = {"agentId": "bob", "conversationId": self.key(n), "message": "hello"}
        return [
            self.ask("/chat", f"chat-{self.key(n)}", chat, "alice"),
            self.ask("/workflows/heartbeat", f"beat-{self.key(n)}", {"agentId": "bob"}),
        ]

    def again(self, n):
        server = self.rig.server()
        answers = self.act(n)
        assert all(answers), "a retry on a clean responder is answered"
        assert server.end() == 0, server.log()
        self.judge(n)

    def judge(self, n):
        self.finish(n, [f"alice:chat-{self.key(n)}", f"root:beat-{self.key(n)}"])
        row = self.rig.value(
            "select concat_ws(' ',"
            " (select string_agg(m.role || ':' || m.content, ',' order by m.position)"
            f"  from openclaw.conversation_message m where m.conversation_id = '{self.key(n)}'),"
            " (select string_agg(h.status || ':' || (h.response ->> 0), ',') from openclaw.heartbeat h"
            f"  where h.workflow_uuid = 'root:beat-{self.key(n)}'),"
            " (select count(*) from openclaw.inbox i where i.message_uuid similar to"
            f"  '(alice:chat|root:beat)-{self.key(n)}-_'))"
        )
        assert row == "user:hello,assistant:heard completed:heard 2", f"{self.key(n)}: {row}"


class AskSweep(Ask):
    """The sweeper carries such questions on: one that was answered, one that is yet to be asked."""

    name = "ask-sweep"
    stride = 7  # of 150 points, in minutes

    def attempt(self, n, fault):
        server = self.rig.server()
        assert all(super().act(n)), "a clean responder answers"
        self.rig.sweep()
        self.bench.drain()
        chat = {"agentId": "bob", "conversationId": f"late-{n}", "message": "hello"}
        assert self.ask("/chat", f"late-{n}", chat, "alice")
        assert server.end() == 0, server.log()
        process = self.rig.spawn("openclaw-gateway-sweeper", "--once", fault=fault)
        process.wait(30)
        return process

    def again(self, n):
        self.finish(n, [f"alice:late-{n}"])
        self.judge(n)


class Sweep(Scenario):
    """The sweeper itself: an enqueued, a lost, an expired, a leased, a parked one."""

    name = "sweep"

    def attempt(self, n, fault):
        db = self.rig.db
        dead = f"dead-{n}"
        # an executor of this host whose process is gone
        db.call(
            "executor_register", executor=dead, kind="http", host="crash-test", pid=2**22 + n,
            pid_started=1, principal=None, client=None,
        )  # fmt: skip
        lost = dict(message(f"lost-{n}"), status="PENDING", steps=[], sends=[], events=[])
        leased = message(f"leased-{n}")
        expired = message(f"expired-{n}", ttl=1)
        db.commit(lost, executor=dead)
        db.commit(leased, expired)
        db.claim(holder=dead, limit=1)
        db.run(
            "select dbos_system.enqueue_workflow('provisionAgent', 'openclaw',"
            f" array['{{\"agentId\":\"swept-{n}\"}}']::json[], workflow_id => 'enqueued-{n}')"
        )
        process = self.rig.spawn("openclaw-gateway-sweeper", "--once", fault=fault)
        process.wait(30)
        return process

    def again(self, n):
        status = self.rig.value(
            f"select status from dbos_system.workflow_status where workflow_uuid = 'enqueued-{n}'"
        )
        assert status == "SUCCESS", f"the enqueued workflow is {status}"
        status = self.rig.value(
            "select w.status || ' ' || i.state from dbos_system.workflow_status w"
            " join openclaw.inbox i on i.workflow_uuid = w.workflow_uuid"
            f" where w.workflow_uuid = 'alice:expired-{n}'"
        )
        assert status == "ERROR expired", f"the expired message is {status}"


SCENARIOS = (
    AcceptHttp, AcceptWs, Deliver, Acknowledge, HandOver, Stream, Refuse, InboxHttp, SettleHttp,
    SettleWs, Provision, Life, Ask, AskSweep, Sweep,
)  # fmt: skip
