/* SPDX-License-Identifier: MIT
 *
 * Memory shared by processes: counters, limits, and processes that are killed.
 */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/shared.h"

static char directory[] = "/tmp/ocsharedXXXXXX";

static int setup(void **state)
{
    struct failure failure;

    (void)state;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(shared_open(directory, &failure), OK);
    return 0;
}

static int teardown(void **state)
{
    char path[64];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/shared.2", directory);
    (void)unlink(path);
    return rmdir(directory);
}

static void counters_are_shared_and_outlive(void **state)
{
    enum { CHILDREN = 4, TIMES = 20000 };
    pid_t children[CHILDREN];

    (void)state;
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct failure failure;

            if (shared_open(directory, &failure) != OK)
                _exit(1);
            for (int k = 0; k < TIMES; k++)
                counter_add(counter_of("requests GET /x"), 1);
            (void)raise(SIGKILL);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFSIGNALED(status));
    }
    assert_int_equal(counter_read("requests GET /x"), CHILDREN * TIMES);
    assert_int_equal(counter_read("requests GET /y"), 0);
}

/* Workers that are started together make the same counters at the same moment. */
static void a_name_has_one_counter(void **state)
{
    enum { CHILDREN = 4, NAMES = 1000 };
    pid_t children[CHILDREN];
    shared_word *ready = counter_of("ready");
    char name[COUNTER_NAME_MAX + 1];

    (void)state;
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            counter_add(ready, 1);
            while (atomic_load(ready) < CHILDREN)
                ;
            for (int k = 0; k < NAMES; k++) {
                (void)snprintf(name, sizeof(name), "at once %d", k);
                counter_add(counter_of(name), 1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    for (int k = 0; k < NAMES; k++) {
        (void)snprintf(name, sizeof(name), "at once %d", k);
        assert_int_equal(*counter_of(name), CHILDREN);
        assert_int_equal(counter_read(name), CHILDREN);
    }
}

static void counters_have_an_end(void **state)
{
    char name[COUNTER_NAME_MAX + 8];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    counter_add(counter_of(name), 1); /* too long a name */
    assert_int_equal(counter_read(name), 0);
    for (int i = 0; i < COUNTERS_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "many %d", i);
        counter_add(counter_of(name), 1);
    }
    assert_int_equal(counter_read("many 0"), 1);
    counter_add(counter_of("requests GET /x"), 1);
    assert_int_equal(counter_read("requests GET /x"), 80001);
}

static void a_limit_is_a_limit(void **state)
{
    struct text one = TEXT_LITERAL("address 192.0.2.1"), other = TEXT_LITERAL("address 192.0.2.2");
    int allowed = 0;

    (void)state;
    while (allowed < 100 && limiter_wait_ms(one, 10) == 0) {
        limiter_count(one, 10);
        allowed++;
    }
    assert_in_range(allowed, 10, 11); /* a slow machine may have earned one more */
    assert_in_range(limiter_wait_ms(one, 10), 1, 6000);
    assert_int_equal(limiter_wait_ms(other, 10), 0);
    for (int i = 0; i < 1000; i++)
        limiter_count(one, 10);
    assert_in_range(limiter_wait_ms(one, 10), 1, 6000); /* it never grows beyond one share */
    assert_int_equal(limiter_wait_ms(one, 0), 0);       /* 0: any number */
}

static void who_is_known_is_remembered(void **state)
{
    (void)state;
    assert_false(seen_lately(TEXT_LITERAL("token a")));
    seen_now(TEXT_LITERAL("token a"));
    assert_true(seen_lately(TEXT_LITERAL("token a")));
    assert_false(seen_lately(TEXT_LITERAL("token b")));
}

static void the_dead_do_not_work(void **state)
{
    struct worker_state sum;
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        worker_state_take()->threads = 7;
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    worker_state_sum(&sum);
    assert_int_equal(sum.pid, 0);
    worker_state_take()->threads = 5;
    worker_state_sum(&sum);
    assert_int_equal(sum.pid, 1);
    assert_int_equal(sum.threads, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_shared_and_outlive),
        cmocka_unit_test(a_name_has_one_counter),
        cmocka_unit_test(counters_have_an_end),
        cmocka_unit_test(a_limit_is_a_limit),
        cmocka_unit_test(who_is_known_is_remembered),
        cmocka_unit_test(the_dead_do_not_work),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
