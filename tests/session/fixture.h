/* SPDX-License-Identifier: MIT
 *
 * A session without a process and without a database, for tests that feed it bytes, time and
 * answers.
 */
#ifndef OPENCLAW_TESTS_SESSION_FIXTURE_H
#define OPENCLAW_TESTS_SESSION_FIXTURE_H

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "session/session.h"
#include "session/state.h"
#include "workflow/registry.h"

#define CONNECT                                                                                    \
    "{\"type\":\"req\",\"id\":\"c\",\"method\":\"connect\",\"params\":{\"minProtocol\":3,"         \
    "\"maxProtocol\":4,\"client\":{\"id\":\"test\",\"version\":\"1\",\"platform\":\"x\","          \
    "\"mode\":\"test\"}}}\n"
#define PING(id) "{\"type\":\"req\",\"id\":\"" id "\",\"method\":\"ping\"}"
#define SEND(key)                                                                                  \
    "{\"type\":\"req\",\"id\":\"" key "\",\"method\":\"send\",\"params\":{\"to\":\"bob\","         \
    "\"message\":\"m\",\"idempotencyKey\":\"" key "\"}}\n"

struct fixture {
    struct options options;
    struct engine engine;
    struct peer peer;
    struct session *session;
    int64_t now;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    assert_int_equal(setenv("AUTH_MODE", "none", 1), 0);
    assert_int_equal(options_load(&fixture->options, "/dev/null", NULL, stderr), OK);
    engine_init(&fixture->engine, &fixture->options, workflow_definitions, EXECUTOR_SESSION);
    fixture->now = 1000000;
    fixture->session = session_new(&fixture->engine, &fixture->peer, fixture->now);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    session_free(fixture->session);
    free(fixture);
    return 0;
}

static void feed(struct fixture *fixture, const char *text)
{
    session_input(fixture->session, text_of(text), fixture->now);
}

/* What was put out since the last time; the client takes all of it. */
static inline const char *taken(struct fixture *fixture)
{
    static char output[65536];
    struct text text = session_output(fixture->session);

    assert_true(text.len < sizeof(output));
    memcpy(output, text.data, text.len);
    output[text.len] = '\0';
    session_written(fixture->session, text.len, fixture->now);
    return output;
}

static void later(struct fixture *fixture, int64_t ms)
{
    fixture->now += ms;
    session_advance(fixture->session, fixture->now);
}

static void answer(struct fixture *fixture, enum error error)
{
    struct failure failure = {.error = error};

    session_answer(fixture->session, error, &failure, NULL, fixture->now);
}

/* The next call is that statement. */
static void assert_call(struct fixture *fixture, enum statement statement)
{
    const struct db_call *call = session_call(fixture->session, fixture->now);

    assert_non_null(call);
    assert_int_equal(call->statement, statement);
}

static void open_session(struct fixture *fixture)
{
    (void)taken(fixture);
    feed(fixture, CONNECT);
    assert_call(fixture, STATEMENT_SESSION_OPEN);
    answer(fixture, OK); /* without a row, as where the answer was lost: it asks again */
    assert_call(fixture, STATEMENT_PRESENCE_LIST);
    answer(fixture, ERR_UNAVAILABLE); /* it goes without */
    assert_non_null(strstr(taken(fixture), "hello-ok"));
    later(fixture, RETRY_MAX_MS);
}

#endif
