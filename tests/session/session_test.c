/* SPDX-License-Identifier: MIT
 *
 * A session without a process and without a database: it is fed bytes, time and answers, and what
 * it puts out and asks for is looked at.
 */
#include "fixture.h"

static void the_challenge_comes_at_once_and_the_database_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    const char *output = taken(fixture);

    assert_non_null(strstr(output, "connect.challenge"));
    assert_int_equal(output[strlen(output) - 1], '\n');
    assert_null(session_call(fixture->session, fixture->now));
    assert_false(session_wants_bell(fixture->session));
    later(fixture, fixture->options.handshake_timeout_ms - 1);
    assert_string_equal(taken(fixture), "");
    later(fixture, 1);
    assert_non_null(strstr(taken(fixture), "shutdown"));
    assert_true(session_over(fixture->session));
}

#define SUBSCRIBE                                                                                  \
    "{\"type\":\"req\",\"id\":\"s\",\"method\":\"inbox.subscribe\",\"params\":{\"inbox\":\"bob\"}" \
    "}\n"

static void a_registration_in_doubt_is_made_again_before_it_is_needed(void **state)
{
    struct fixture *fixture = *state;

    (void)taken(fixture);
    feed(fixture, CONNECT);
    assert_call(fixture, STATEMENT_SESSION_OPEN);
    later(fixture, fixture->options.db_timeout_ms);
    answer(fixture, ERR_IN_DOUBT);
    while (strstr(taken(fixture), "hello-ok") == NULL) {
        later(fixture, RETRY_MAX_MS);
        if (session_call(fixture->session, fixture->now) != NULL)
            answer(fixture, ERR_IN_DOUBT);
    }
    feed(fixture, SUBSCRIBE);
    later(fixture, RETRY_MAX_MS * 2);
    assert_call(fixture, STATEMENT_EXECUTOR_REGISTER);
    answer(fixture, ERR_INTERNAL); /* that goes wrong, too */
    assert_call(fixture, STATEMENT_INBOX_SUBSCRIBE);
    answer(fixture, ERR_FENCED); /* the database does not know it */
    assert_non_null(strstr(taken(fixture), "\"code\":\"UNAVAILABLE\""));
    feed(fixture, SUBSCRIBE);
    assert_call(fixture, STATEMENT_EXECUTOR_REGISTER);
}

/* The place of the number among what inbox_subscribe.sql and inbox_unsubscribe.sql are given. */
#define SUBSCRIBE_NUMBER   6
#define UNSUBSCRIBE_NUMBER 2

static int64_t number(const char *text)
{
    int64_t value = 0;

    assert_int_equal(text_int64(text_of(text), 1, INT64_MAX, &value), OK);
    return value;
}

static void a_subscription_in_doubt_is_ended(void **state)
{
    struct fixture *fixture = *state;
    const struct db_call *call;
    int64_t first, last;

    open_session(fixture);
    feed(fixture, SUBSCRIBE);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    first = number(call->values[SUBSCRIBE_NUMBER]);
    answer(fixture, ERR_IN_DOUBT);
    later(fixture, RETRY_MAX_MS * 2);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    last = number(call->values[SUBSCRIBE_NUMBER]);
    assert_true(last > first); /* so that the first does nothing should it come late */
    later(fixture, fixture->options.db_timeout_ms);
    answer(fixture, ERR_IN_DOUBT);
    assert_non_null(strstr(taken(fixture), "\"code\":\"IN_DOUBT\""));
    for (int i = 0; i < 3; i++) { /* for as long as it takes */
        later(fixture, RETRY_MAX_MS * 2);
        call = session_call(fixture->session, fixture->now);
        assert_non_null(call);
        assert_int_equal(call->statement, STATEMENT_INBOX_UNSUBSCRIBE);
        assert_true(number(call->values[UNSUBSCRIBE_NUMBER]) > last);
        last = number(call->values[UNSUBSCRIBE_NUMBER]);
        later(fixture, fixture->options.db_timeout_ms);
        answer(fixture, ERR_UNAVAILABLE);
    }
    assert_string_equal(taken(fixture), "");
}

static void a_frame_may_be_cut_anywhere(void **state)
{
    static const char frames[] =
        "  {\"type\":\n\"req\", \"id\":\"a}{\\\"\",\n\"method\":\"ping\"}\n" PING("b");
    struct fixture *fixture = *state;

    open_session(fixture);
    for (size_t cut = 1; cut < sizeof(frames) - 1; cut++) {
        const char *output;

        session_input(fixture->session, (struct text){frames, cut}, fixture->now);
        session_input(fixture->session, (struct text){frames + cut, sizeof(frames) - 1 - cut},
                      fixture->now);
        output = taken(fixture);
        assert_non_null(strstr(output, "\"id\":\"a}{\\\"\",\"ok\":true"));
        assert_non_null(strstr(output, "\"id\":\"b\",\"ok\":true"));
    }
}

static void the_id_of_a_bad_frame_is_guessed(void **state)
{
    static const struct {
        const char *frame, *id;
    } rows[] = {
        {"{\"id\":\"x\",}", "x"},
        {"{\"a\":{\"id\":\"inner\"},\"id\" : \"outer\"", "outer"},
        {"{\"a\":\"id\",\"id\":\"x\"", "x"},
        {"{\"a\":\"\\\"id\\\":\\\"no\\\"\"", NULL},
        {"[\"id\",\"x\"]", NULL},
        {"{\"id\":\"\"}", NULL},
        {"{\"id\":\"unfinished", NULL},
        {"{\"id\":7}", NULL},
        {"{\"id\":\"\xff\"}", NULL},
        {"{\"id\":\"a\\u0041\"}", NULL},
        {"", NULL},
    };
    struct arena *arena = arena_new();

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text id = frame_id_guess(arena, text_of(rows[i].frame));

        if (rows[i].id == NULL)
            assert_null(id.data);
        else
            assert_text(id, rows[i].id);
    }
    arena_free(arena);
}

static void what_was_read_meanwhile_goes_together(void **state)
{
    struct fixture *fixture = *state;
    const struct db_call *call;

    open_session(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    feed(fixture, SEND("k2") SEND("k3") SEND("k4"));
    answer(fixture, ERR_INTERNAL);
    assert_non_null(strstr(taken(fixture), "\"id\":\"k1\",\"ok\":false"));
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    assert_int_equal(call->statement, STATEMENT_WORKFLOW_COMMIT);
    assert_non_null(strstr(call->values[6], "k2"));
    assert_non_null(strstr(call->values[6], "k4"));
    answer(fixture, ERR_INTERNAL);
    assert_null(session_call(fixture->session, fixture->now));
}

static void an_answer_that_was_lost_is_asked_for_again(void **state)
{
    struct fixture *fixture = *state;
    const struct db_call *call;
    char tokens[256];

    open_session(fixture);
    feed(fixture, SEND("k1"));
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    (void)snprintf(tokens, sizeof(tokens), "%s", call->values[9]);
    answer(fixture, ERR_IN_DOUBT);
    assert_string_equal(taken(fixture), "");
    assert_null(session_call(fixture->session, fixture->now)); /* not at once */
    later(fixture, RETRY_MAX_MS * 2);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    assert_string_equal(call->values[9], tokens); /* the same start */
    later(fixture, fixture->options.db_timeout_ms);
    answer(fixture, ERR_UNAVAILABLE);
    assert_non_null(strstr(taken(fixture), "\"code\":\"IN_DOUBT\"")); /* it may have been done */
}

/* The place of the token among what inbox_claim.sql is given. */
#define CLAIM_TOKEN 6

static void a_pull_whose_answer_was_lost_takes_the_same(void **state)
{
    static const char pull[] = "{\"type\":\"req\",\"id\":\"p\",\"method\":\"inbox.pull\","
                               "\"params\":{\"inbox\":\"bob\"}}\n";
    struct fixture *fixture = *state;
    const struct db_call *call;
    char token[64];

    open_session(fixture);
    feed(fixture, pull);
    later(fixture, 1);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    assert_int_equal(call->statement, STATEMENT_INBOX_CLAIM);
    assert_non_null(call->values[CLAIM_TOKEN]);
    (void)snprintf(token, sizeof(token), "%s", call->values[CLAIM_TOKEN]);
    answer(fixture, ERR_IN_DOUBT);
    assert_string_equal(taken(fixture), "");
    later(fixture, RETRY_MAX_MS * 2);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    assert_string_equal(call->values[CLAIM_TOKEN], token);
    answer(fixture, ERR_INTERNAL);
    feed(fixture,
         pull); /* what the first may have taken is this one's: nothing later comes before it */
    later(fixture, 1);
    call = session_call(fixture->session, fixture->now);
    assert_non_null(call);
    assert_string_equal(call->values[CLAIM_TOKEN], token);
}

static void without_a_database_requests_are_answered_in_time(void **state)
{
    struct fixture *fixture = *state;
    int64_t begun = fixture->now;
    bool answered = false;

    open_session(fixture);
    begun = fixture->now;
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    answer(fixture, ERR_UNAVAILABLE);
    feed(fixture, SEND("k2"));
    while (!answered && fixture->now < begun + 60000) {
        int64_t deadline = session_deadline(fixture->session);

        assert_true(deadline > fixture->now ||
                    session_call(fixture->session, fixture->now) != NULL);
        if (deadline > fixture->now)
            later(fixture, deadline - fixture->now);
        else
            answer(fixture, ERR_UNAVAILABLE);
        answered = strstr(taken(fixture), "\"id\":\"k1\",\"ok\":false") != NULL;
    }
    assert_true(answered);
    assert_true(fixture->now <= begun + fixture->options.db_timeout_ms + RETRY_MAX_MS * 2);
    feed(fixture, PING("p"));
    assert_non_null(strstr(taken(fixture), "\"id\":\"p\",\"ok\":true"));
}

/* Who has rung has just committed: the database is back. */
static void a_bell_ends_the_wait_for_the_database(void **state)
{
    struct fixture *fixture = *state;

    open_session(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    for (int64_t pause = RETRY_FIRST_MS; pause < RETRY_MAX_MS; pause *= 2) {
        answer(fixture, ERR_UNAVAILABLE);
        assert_null(session_call(fixture->session, fixture->now));
        later(fixture, RETRY_MAX_MS * 3 / 2);
        assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    }
    answer(fixture, ERR_UNAVAILABLE);
    later(fixture, RETRY_RUNG_MS);
    assert_null(session_call(fixture->session, fixture->now));
    session_bell(fixture->session, fixture->now);
    assert_null(session_call(fixture->session, fixture->now)); /* not all of them at once */
    later(fixture, RETRY_RUNG_MS * 3 / 2);
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
}

static void who_takes_nothing_is_given_up(void **state)
{
    struct fixture *fixture = *state;

    open_session(fixture);
    feed(fixture, PING("p"));
    later(fixture, fixture->options.write_timeout_ms - 1);
    assert_false(session_over(fixture->session));
    later(fixture, 1);
    assert_int_equal(session_output(fixture->session).len, 0);
    assert_call(fixture, STATEMENT_EXECUTOR_REAP); /* what it held goes back */
    answer(fixture, OK);
    assert_true(session_over(fixture->session));
}

static void ticks_come_while_nothing_happens(void **state)
{
    struct fixture *fixture = *state;

    open_session(fixture);
    for (int i = 0; i < 3; i++) {
        later(fixture, fixture->options.tick_interval_ms);
        assert_non_null(strstr(taken(fixture), "\"event\":\"tick\""));
    }
}

static void the_end_gives_back_and_says_goodbye(void **state)
{
    struct fixture *fixture = *state;
    const char *output;

    open_session(fixture);
    feed(fixture, SEND("k1"));
    session_stop(fixture->session, "for a test", fixture->now);
    output = taken(fixture);
    assert_non_null(strstr(output, "\"id\":\"k1\",\"ok\":false"));
    assert_non_null(strstr(output, "for a test"));
    assert_false(session_over(fixture->session));
    assert_call(fixture, STATEMENT_EXECUTOR_REAP);
    answer(fixture, ERR_UNAVAILABLE); /* then the sweeper does it */
    assert_true(session_over(fixture->session));
    feed(fixture, PING("p"));
    assert_string_equal(taken(fixture), "");
}

static void a_database_that_hangs_does_not_hold_the_end(void **state)
{
    struct fixture *fixture = *state;

    open_session(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    session_left(fixture->session, fixture->now);
    assert_false(session_over(fixture->session));
    later(fixture, LEFT_GRACE_MS);
    assert_true(session_over(fixture->session));
}

/* Its share is what it has received so far. */
static void carry_share(struct fixture *fixture)
{
    open_session(fixture);
    for (int i = 0; i < 20; i++)
        feed(fixture, PING("p"));
    fixture->options.connection_bytes = fixture->session->received + 1;
    (void)taken(fixture);
    later(fixture, 0);
    assert_string_equal(taken(fixture), "");
}

static void a_connection_that_carried_its_share_ends_between_requests(void **state)
{
    struct fixture *fixture = *state;
    const char *output;

    carry_share(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    later(fixture, FAREWELL_MS - 1);
    assert_string_equal(taken(fixture), "");
    answer(fixture, ERR_INTERNAL);
    later(fixture, 0);
    output = taken(fixture);
    assert_non_null(strstr(output, "\"id\":\"k1\",\"ok\":false"));
    assert_non_null(strstr(output, "connect again"));
}

static void but_waits_for_requests_only_so_long(void **state)
{
    struct fixture *fixture = *state;

    carry_share(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    later(fixture, 0);
    assert_true(session_deadline(fixture->session) <= fixture->now + FAREWELL_MS);
    later(fixture, FAREWELL_MS);
    assert_non_null(strstr(taken(fixture), "connect again"));
}

static void and_for_so_many_bytes(void **state)
{
    struct fixture *fixture = *state;

    carry_share(fixture);
    feed(fixture, SEND("k1"));
    assert_call(fixture, STATEMENT_WORKFLOW_COMMIT);
    while (fixture->session->received < fixture->options.connection_bytes * 3 / 2)
        feed(fixture, PING("p"));
    later(fixture, 0);
    assert_non_null(strstr(taken(fixture), "connect again"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(the_challenge_comes_at_once_and_the_database_is_left_alone),
        TEST(a_registration_in_doubt_is_made_again_before_it_is_needed),
        TEST(a_subscription_in_doubt_is_ended),
        TEST(a_frame_may_be_cut_anywhere),
        TEST(the_id_of_a_bad_frame_is_guessed),
        TEST(what_was_read_meanwhile_goes_together),
        TEST(an_answer_that_was_lost_is_asked_for_again),
        TEST(a_pull_whose_answer_was_lost_takes_the_same),
        TEST(without_a_database_requests_are_answered_in_time),
        TEST(a_bell_ends_the_wait_for_the_database),
        TEST(who_takes_nothing_is_given_up),
        TEST(ticks_come_while_nothing_happens),
        TEST(the_end_gives_back_and_says_goodbye),
        TEST(a_database_that_hangs_does_not_hold_the_end),
        TEST(a_connection_that_carried_its_share_ends_between_requests),
        TEST(but_waits_for_requests_only_so_long),
        TEST(and_for_so_many_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
