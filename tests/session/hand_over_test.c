/* SPDX-License-Identifier: MIT
 *
 * Messages that are handed over to a session with their acceptance.
 */
#include "fixture.h"

#include <unistd.h>

#include "base/bell.h"
#include "db/internal.h"
#include "gateway/hand_over.h"

#define EPOCH 5

/* A session that receives the inbox of bob, and its doorbell. */
struct receiver {
    struct subscription *subscription;
    struct bell bell;
    char runtime_dir[64];
};

static void receive(struct fixture *fixture, struct receiver *receiver)
{
    open_session(fixture);
    fixture->session->registered = true;
    fixture->session->register_again = false;
    receiver->subscription = subscription_add(fixture->session, TEXT_LITERAL("bob"));
    receiver->subscription->active = true;
    receiver->subscription->epoch = EPOCH;
    receiver->subscription->max_in_flight = 10;
    receiver->subscription->lease_ms = 30000;
    (void)snprintf(receiver->runtime_dir, sizeof(receiver->runtime_dir), "/tmp/session_test.%d",
                   (int)getpid());
    fixture->options.runtime_dir = receiver->runtime_dir;
    assert_int_equal(
        bell_open(&receiver->bell, receiver->runtime_dir, fixture->engine.executor.id, NULL), OK);
}

static void receive_no_more(struct receiver *receiver)
{
    bell_close(&receiver->bell);
    (void)rmdir(receiver->runtime_dir);
}

static const char *delivery_id(char tag, int64_t seq)
{
    static char id[64];

    (void)snprintf(id, sizeof(id), "%lld.%csecret", (long long)seq, tag);
    return id;
}

/* Whether the session took it. */
static bool hand_over(struct fixture *fixture, struct receiver *receiver, int64_t seq,
                      int64_t epoch)
{
    const struct workflow_message message = {
        .to = TEXT_LITERAL("bob"),
        .from = TEXT_LITERAL("alice"),
        .message = TEXT_LITERAL("{\"content\":{\"n\":1},\"metadata\":{\"a\":2}}"),
        .expects_reply = true,
        .max_attempts = 4,
        .ttl_ms = 9000,
    };
    const struct workflow_outcome outcome = {
        .now_ms = 1000,
        .hand_over = {.holder = text_of(fixture->engine.executor.id),
                      .delivery_id = text_of(delivery_id('h', seq)),
                      .epoch = epoch,
                      .lease_expires_at = 31000,
                      .message = &message},
    };
    const struct message_receipt receipt = {.message_id = TEXT_LITERAL("m1"),
                                            .workflow_id = TEXT_LITERAL("alice:m1")};
    char bytes[HAND_OVER_MAX];
    struct text brought;
    bool took;

    hand_over_send(&fixture->engine, &outcome, &receipt);
    assert_true(bell_take(&receiver->bell, bytes, sizeof(bytes), &brought));
    took = session_hand_over(fixture->session, brought, fixture->now);
    later(fixture, 0);
    return took;
}

static void what_is_handed_over_is_put_out(void **state)
{
    static const char *const parts[] = {
        "\"event\":\"inbox.message\"",
        "\"deliveryId\":\"7.hsecret\"",
        "\"messageId\":\"m1\"",
        "\"inbox\":\"bob\"",
        "\"inboxSeq\":7",
        "\"attempt\":1,\"maxAttempts\":4",
        "\"redelivered\":false",
        "\"from\":\"alice\",\"to\":\"bob\"",
        "\"content\":{\"n\":1}",
        "\"metadata\":{\"a\":2}",
        "\"enqueuedAt\":1000",
        "\"expiresAt\":10000,\"leaseExpiresAt\":31000",
        "\"expectsReply\":true",
        "\"workflowUuid\":\"alice:m1\"",
    };
    struct fixture *fixture = *state;
    struct receiver receiver;
    const char *output;

    receive(fixture, &receiver);
    assert_true(hand_over(fixture, &receiver, 7, EPOCH));
    output = taken(fixture);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(output, parts[i]) == NULL)
            fail_msg("%s is not in %s", parts[i], output);
    assert_int_equal(receiver.subscription->in_flight, 1);
    assert_true(hand_over(fixture, &receiver, 7, EPOCH)); /* it has that, by a claim say */
    assert_string_equal(taken(fixture), "");
    assert_true(hand_over(fixture, &receiver, 8, EPOCH));
    assert_non_null(strstr(taken(fixture), "8.hsecret"));
    receive_no_more(&receiver);
}

static void what_another_subscription_was_handed_is_only_a_bell(void **state)
{
    struct fixture *fixture = *state;
    struct receiver receiver;
    struct text nonsense = TEXT_LITERAL("nonsense");

    receive(fixture, &receiver);
    assert_false(hand_over(fixture, &receiver, 7, EPOCH - 1));
    assert_false(hand_over(fixture, &receiver, 7, EPOCH + 1));
    receiver.subscription->doubt = true;
    assert_false(hand_over(fixture, &receiver, 7, EPOCH));
    receiver.subscription->doubt = false;
    receiver.subscription->active = false;
    assert_false(hand_over(fixture, &receiver, 7, EPOCH));
    receiver.subscription->active = true;
    assert_false(session_hand_over(fixture->session, nonsense, fixture->now));
    assert_string_equal(taken(fixture), "");
    assert_int_equal(receiver.subscription->in_flight, 0);
    assert_true(hand_over(fixture, &receiver, 7, EPOCH));
    assert_non_null(strstr(taken(fixture), "7.hsecret"));
    receive_no_more(&receiver);
}

#define CLAIM_KNOWN 7 /* the place of that among what inbox_claim.sql is given */

/* Whatever else it asks for first fails. */
static const struct db_call *next_claim(struct fixture *fixture)
{
    for (;;) {
        const struct db_call *call = session_call(fixture->session, fixture->now);

        assert_non_null(call);
        if (call != NULL && call->statement == STATEMENT_INBOX_CLAIM)
            return call;
        answer(fixture, ERR_INTERNAL);
    }
}

/* The claim's answer: that delivery, and that nothing more is waiting. */
static void claim_gives(struct fixture *fixture, const char *id)
{
    enum { TEXT = 25, INT8 = 20, INT4 = 23, BOOL = 16, COLUMNS = 16 };
    static const unsigned types[COLUMNS] = {INT8, INT8, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT,
                                            TEXT, INT4, INT4, BOOL, BOOL, INT8, INT8, INT8};
    struct text values[2 * COLUMNS] = {
        TEXT_NONE,           text_of("7"),     text_of(id),         text_of("m1"),
        text_of("alice:m1"), text_of("alice"), text_of("alice:m1"), text_of("portable_json"),
        text_of("{}"),       text_of("1"),     text_of("4"),        text_of("f"),
        text_of("f"),        text_of("1"),     text_of("2"),        text_of("3"),
    };
    const struct db_call *call = next_claim(fixture);

    session_answer(fixture->session, OK, NULL, rows_of_values(call, types, COLUMNS, values, 2),
                   fixture->now);
    later(fixture, 0);
}

static void a_claim_says_what_it_knows_of(void **state)
{
    struct fixture *fixture = *state;
    struct receiver receiver;

    receive(fixture, &receiver);
    assert_true(hand_over(fixture, &receiver, 6, EPOCH));
    (void)taken(fixture);
    session_bell(fixture->session, fixture->now);
    later(fixture, 0);
    assert_string_equal(next_claim(fixture)->values[CLAIM_KNOWN], "6");
    assert_true(hand_over(fixture, &receiver, 7, EPOCH)); /* while it is under way */
    assert_non_null(strstr(taken(fixture), "7.hsecret"));
    receive_no_more(&receiver);
}

static void a_message_that_a_claim_was_faster_with_is_put_out_once(void **state)
{
    struct fixture *fixture = *state;
    struct receiver receiver;

    receive(fixture, &receiver);
    session_bell(fixture->session, fixture->now);
    later(fixture, 0);
    claim_gives(fixture, delivery_id('h', 7));
    assert_non_null(strstr(taken(fixture), "7.hsecret"));
    assert_true(hand_over(fixture, &receiver, 7, EPOCH));
    assert_string_equal(taken(fixture), "");
    assert_int_equal(receiver.subscription->in_flight, 1);

    session_bell(fixture->session, fixture->now);
    later(fixture, LOOK_MS);
    claim_gives(fixture, delivery_id('h', 7)); /* it had not yet been noted that it is out */
    assert_string_equal(taken(fixture), "");
    session_bell(fixture->session, fixture->now);
    later(fixture, LOOK_MS);
    claim_gives(fixture, delivery_id('0', 7)); /* another delivery of it */
    assert_non_null(strstr(taken(fixture), "7.0secret"));
    receive_no_more(&receiver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_handed_over_is_put_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_another_subscription_was_handed_is_only_a_bell, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_claim_says_what_it_knows_of, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_that_a_claim_was_faster_with_is_put_out_once,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
