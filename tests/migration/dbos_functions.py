#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""enqueue_workflow, send_message and the trigger do what the official SDK's do.

Every expectation is checked against our schema and, where the SDK is installed, against the one
that the SDK makes: so what is expected here is what the SDK really does.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import node
import schema
from cluster import Cluster, SqlError, skip_without
from tap import Tap

SCHEMA = schema.DBOS_SCHEMA
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

# Whatever is not named is NULL or has its column's default.
ENQUEUED = {
    "status": "ENQUEUED",
    "name": "w",
    "queue_name": "q",
    "recovery_attempts": 0,
    "priority": 0,
    "serialization": "portable_json",
    "rate_limited": False,
    "is_debounced": False,
    "was_forked_from": False,
}
EMPTY = '{"positionalArgs" : [], "namedArgs" : {}}'

# (arguments, the row that they make beside ENQUEUED, the inputs)
ENQUEUES = [
    ("'w', 'q'", {}, EMPTY),
    (
        "'w', 'q', array['1', '\"two\"', '{\"three\": [3]}']::json[], '{\"a\": null}'",
        {},
        '{"positionalArgs" : [1,"two",{"three": [3]}], "namedArgs" : {"a": null}}',
    ),
    ("'w', 'q', null, null", {}, '{"positionalArgs" : null, "namedArgs" : null}'),
    ("'w', 'q', priority => 7", {"priority": 7}, EMPTY),
    ("'w', 'q', priority => null", {}, EMPTY),
    (
        "'w', 'q', delay_until_epoch_ms => 5",
        {"status": "DELAYED", "delay_until_epoch_ms": 5},
        EMPTY,
    ),
    ("'w', 'q', deduplication_id => ''", {"deduplication_id": ""}, EMPTY),
    (
        "workflow_name => 'w', queue_name => 'q', class_name => 'c', config_name => 'k',"
        " app_version => 'v', timeout_ms => 1, deadline_epoch_ms => 2, deduplication_id => 'd',"
        " priority => 3, queue_partition_key => 'p', authenticated_user => 'u',"
        " authenticated_roles => '[\"r\"]', delay_until_epoch_ms => 0, application_name => 'a'",
        {
            "status": "DELAYED",
            "class_name": "c",
            "config_name": "k",
            "application_version": "v",
            "workflow_timeout_ms": 1,
            "workflow_deadline_epoch_ms": 2,
            "deduplication_id": "d",
            "priority": 3,
            "queue_partition_key": "p",
            "authenticated_user": "u",
            "authenticated_roles": '["r"]',
            "delay_until_epoch_ms": 0,
            "application_name": "a",
        },
        EMPTY,
    ),
]

# (arguments, SQLSTATE, the message where clients look at it)
REFUSALS = [
    ("null, 'q'", "P0001", None),
    ("'', 'q'", "P0001", None),
    ("'w', null", "P0001", None),
    ("'w', ''", "P0001", None),
    ("'w', 'q', workflow_id => ''", "P0001", None),
    ("'w', 'q', named_args => '[]'", "P0001", None),
    ("'w', 'q', named_args => 'null'", "P0001", None),
    ("'w', 'q', delay_until_epoch_ms => -1", "P0001", None),
    ("'w', 'q', class_name => repeat('x', 256)", "22001", None),
    ("'w', 'q', deduplication_id => 'taken'", "23505", "DBOS queue duplicated"),
]


class Subject:
    """One of the two databases."""

    def __init__(self, tap, cluster, database):
        self.tap, self.cluster, self.database = tap, cluster, database

    def value(self, sql):
        return self.cluster.value(sql, self.database)

    def rows(self, sql):
        return self.cluster.rows(sql, self.database)

    def equal(self, got, expected, name):
        self.tap.equal(got, expected, f"{self.database}: {name}")

    def ok(self, condition, name, detail=""):
        self.tap.ok(condition, f"{self.database}: {name}", detail)

    def refuses(self, sql, sqlstate, message, name):
        try:
            self.value(sql)
            self.ok(False, name, "not refused")
        except SqlError as error:
            expected = (sqlstate, message or error.message)
            self.equal((error.sqlstate, error.message), expected, name)


def check_enqueue(subject, arguments, expected, inputs):
    now = int(subject.value("select (extract(epoch from now()) * 1000)::bigint"))
    workflow = subject.value(f"select {SCHEMA}.enqueue_workflow({arguments})")
    row = json.loads(
        subject.value(
            "select json_strip_nulls(to_json(s)) from"
            f" {SCHEMA}.workflow_status s where workflow_uuid = '{workflow}'"
        )
    )
    made = [row.pop("workflow_uuid"), row.pop("owner_xid")]
    created, updated = row.pop("created_at"), row.pop("updated_at")
    subject.equal(row, {**ENQUEUED, **expected}, f"enqueue_workflow({arguments}): row")
    query = f"select inputs from {SCHEMA}.workflow_input where workflow_uuid = '{workflow}'"
    subject.equal(subject.value(query), inputs, f"enqueue_workflow({arguments}): inputs")
    subject.ok(
        all(subject.value(f"select '{text}' ~ '{UUID}'") == "t" for text in made)
        and created == updated
        and 0 <= created - now < 60000,
        "a fresh id, a fresh owner, now",
        f"{made} {created} {updated} {now}",
    )


def check_enqueue_twice(subject):
    """An id that exists keeps its row, its inputs and its owner, whatever else is given."""
    first = "'w', 'q', array['1']::json[], workflow_id => 'twice'"
    second = "'other', 'q2', array['2']::json[], workflow_id => 'twice', priority => 9"
    query = (
        "select to_jsonb(s) - 'updated_at' || to_jsonb(i) as row"
        f"  from {SCHEMA}.workflow_status s join {SCHEMA}.workflow_input i using (workflow_uuid)"
        " where workflow_uuid = 'twice'"
    )
    subject.equal(subject.value(f"select {SCHEMA}.enqueue_workflow({first})"), "twice", "given id")
    before = subject.value(query)
    again = subject.value(f"select {SCHEMA}.enqueue_workflow({second})")
    subject.equal(again, "twice", "enqueue_workflow twice returns the id")
    subject.equal(subject.value(query), before, "enqueue_workflow twice changes nothing")


def check_refusals(subject):
    subject.value(f"select {SCHEMA}.enqueue_workflow('w', 'q', deduplication_id => 'taken')")
    count = f"select count(*) from {SCHEMA}.workflow_status"
    before = subject.value(count)
    for arguments, sqlstate, message in REFUSALS:
        call = f"select {SCHEMA}.enqueue_workflow({arguments})"
        subject.refuses(call, sqlstate, message, f"enqueue_workflow({arguments}) is refused")
    subject.equal(subject.value(count), before, "what is refused writes nothing")
    other = f"select {SCHEMA}.enqueue_workflow('w', 'q2', deduplication_id => 'taken') is not null"
    subject.equal(subject.value(other), "t", "another queue may use the same deduplication id")


def check_send(subject):
    subject.value(f"select {SCHEMA}.enqueue_workflow('w', 'q', workflow_id => 'box')")
    for arguments in (
        "'box', '{\"a\": 1}'",
        "'box', '2', 'topic'",
        "'box', '3', null, 'm1'",
        "destination_id => 'box', message => '\"again\"', message_id => 'm1', topic => 't'",
        "'box', '4', '', ''",
    ):
        sent = subject.value(f"select {SCHEMA}.send_message({arguments})")
        subject.equal(sent, "", f"send_message({arguments}) returns void")
    subject.equal(
        [
            list(row.values())
            for row in subject.rows(
                "select destination_uuid, topic, message, serialization, consumed,"
                f"      consumed_by_function_id, regexp_replace(message_uuid, '{UUID}', 'uuid')"
                f" from {SCHEMA}.notifications where destination_uuid = 'box' order by message"
            )
        ],
        [
            ["box", "topic", "2", "portable_json", "f", None, "uuid"],
            ["box", "__null__topic__", "3", "portable_json", "f", None, "m1"],
            ["box", "", "4", "portable_json", "f", None, ""],
            ["box", "__null__topic__", '{"a": 1}', "portable_json", "f", None, "uuid"],
        ],
        "send_message: rows; a repeated id is dropped",
    )
    send = f"select {SCHEMA}.send_message('nobody', '1')"
    subject.refuses(send, "23503", "DBOS non-existent workflow", "send_message to nobody")
    subject.refuses(f"select {SCHEMA}.send_message('box', null)", "23502", None, "no message")


def check_trigger(subject, mailbox_is_quiet):
    for workflow in ("agent:alice", "agents", "xagent:"):
        subject.value(f"select {SCHEMA}.enqueue_workflow('w', 'q', workflow_id => '{workflow}')")
    with subject.cluster.session(subject.database) as listener:
        listener.run("listen dbos_notifications_channel")

        def heard(destination, topic):
            sql = f"select {SCHEMA}.send_message('{destination}', '1', '{topic}')"
            return '"dbos_notifications_channel" with payload "' + (
                f'{destination}::{topic}"'
            ) in listener.run(sql)

        for workflow in ("agents", "xagent:"):
            subject.ok(heard(workflow, "t"), f"a message to {workflow} is notified")
        subject.equal(heard("agent:alice", "t"), not mailbox_is_quiet, "to agent:alice: notified")


def check(subject, mailbox_is_quiet):
    for arguments, expected, inputs in ENQUEUES:
        check_enqueue(subject, arguments, expected, inputs)
    check_enqueue_twice(subject)
    check_refusals(subject)
    check_send(subject)
    check_trigger(subject, mailbox_is_quiet)


def main():
    skip_without("initdb", "psql")
    tap = Tap()
    with Cluster() as cluster:
        cluster.create_database("ours")
        for path in schema.dbos_files():
            cluster.apply(path, "ours")
        check(Subject(tap, cluster, "ours"), mailbox_is_quiet=True)
        reason = node.missing(node.SDK)
        if reason:
            tap.skip("theirs", reason)
        else:
            cluster.create_database("theirs")
            node.dbos_schema(cluster.url("theirs"), "-s", SCHEMA)
            check(Subject(tap, cluster, "theirs"), mailbox_is_quiet=False)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
