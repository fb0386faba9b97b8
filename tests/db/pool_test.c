/* SPDX-License-Identifier: MIT
 *
 * The pool: threads share its connections, none waits for ever, the last given is the first taken.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support.h"

#define THREADS 16
#define ROUNDS  50
#define SIZE    3

static void last_given_is_first_taken(void **state)
{
    struct fixture *fixture = *state;
    struct db_pool *pool = db_pool_new(2);
    struct db *one = NULL;
    struct db *two = NULL;
    struct db *again = NULL;
    assert_error(fixture, db_pool_take(pool, &fixture->failure, &one), OK, NULL);
    assert_error(fixture, db_pool_take(pool, &fixture->failure, &two), OK, NULL);
    assert_ptr_not_equal(one, two);
    assert_null(db_pool_try(pool));
    db_pool_give(pool, two);
    db_pool_give(pool, one);
    assert_error(fixture, db_pool_take(pool, &fixture->failure, &again), OK, NULL);
    assert_ptr_equal(again, one);
    assert_ptr_equal(db_pool_try(pool), two);
    db_pool_give(pool, one);
    db_pool_give(pool, two);
    db_pool_free(pool);
    db_pool_free(NULL);
}

static void nobody_waits_for_ever(void **state)
{
    struct fixture *fixture = *state;
    configure(200, NULL);
    struct db_pool *pool = db_pool_new(1);
    struct db *one = NULL;
    struct db *none = NULL;
    assert_error(fixture, db_pool_take(pool, &fixture->failure, &one), OK, NULL);
    int64_t before = clock_ms();
    assert_error(fixture, db_pool_take(pool, &fixture->failure, &none), ERR_OVERLOADED, NULL);
    assert_true(clock_ms() - before >= 195 && clock_ms() - before < 1000);
    assert_detail(fixture, "DB_POOL_SIZE");
    assert_null(none);
    db_pool_give(pool, one);
    db_pool_free(pool);
}

static void an_abandoned_call_is_not_handed_on(void **state)
{
    struct fixture *fixture = *state;
    struct db_pool *pool = db_pool_new(1);
    struct db *db = db_pool_try(pool);
    db_start(db, call_sleep(fixture, "30"));
    assert_true(db_busy(db));
    db_pool_give(pool, db);
    db = db_pool_try(pool);
    assert_false(db_busy(db));
    assert_false(db_is_open(db));
    (void)ask_int(fixture, db, STATEMENT_PING);
    db_pool_give(pool, db);
    db_pool_free(pool);
}

struct crowd {
    struct db_pool *pool;
    atomic_int inside;
    atomic_int most;
    atomic_int failures;
    atomic_int done;
};

static void *work(void *argument)
{
    struct crowd *crowd = argument;
    struct arena *arena = arena_new();
    for (int i = 0; i < ROUNDS; i++) {
        struct db *db = NULL;
        if (db_pool_take(crowd->pool, NULL, &db) != OK) {
            atomic_fetch_add(&crowd->failures, 1);
            continue;
        }
        int inside = atomic_fetch_add(&crowd->inside, 1) + 1;
        if (inside > atomic_load(&crowd->most))
            atomic_store(&crowd->most, inside);
        struct db_call call;
        struct db_rows *rows = NULL;
        db_call_init(&call, arena, STATEMENT_TEST_CAST_INT);
        db_add_int(&call, i);
        if (db_run(db, &call, NULL, &rows) != OK || db_int(rows, 0, 0) != i)
            atomic_fetch_add(&crowd->failures, 1);
        atomic_fetch_sub(&crowd->inside, 1);
        db_pool_give(crowd->pool, db);
        arena_reset(arena);
        atomic_fetch_add(&crowd->done, 1);
    }
    arena_free(arena);
    return NULL;
}

static void many_threads_share_few_connections(void **state)
{
    (void)state;
    configure(20000, NULL);
    struct crowd crowd = {.pool = db_pool_new(SIZE)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(crowd.failures, 0);
    assert_int_equal(crowd.done, THREADS * ROUNDS);
    assert_in_range(crowd.most, 1, SIZE);
    db_pool_free(crowd.pool);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(last_given_is_first_taken),
        TEST(nobody_waits_for_ever),
        TEST(an_abandoned_call_is_not_handed_on),
        TEST(many_threads_share_few_connections),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
