/* SPDX-License-Identifier: MIT */
#ifndef OPENCLAW_FAULT_POINTS
#define OPENCLAW_FAULT_POINTS 1
#endif
#include "base/fault.c" /* compiled in here, so that it is tested in every build */

#include <sys/wait.h>

#include "unit.h"

static char log_file[] = "/tmp/fault.XXXXXX";

static int start(void **state)
{
    int fd;

    (void)state;
    memcpy(log_file, "/tmp/fault.XXXXXX", sizeof(log_file));
    fd = mkstemp(log_file);
    return fd < 0 ? -1 : close(fd);
}

static int stop(void **state)
{
    (void)state;
    return unlink(log_file);
}

/* A child passes a, b, a, b, a; returns how it ended. */
static int run(const char *at, const char *name)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        setenv("OPENCLAW_FAULT_LOG", log_file, 1);
        if (at != NULL)
            setenv("OPENCLAW_FAULT_AT", at, 1);
        if (name != NULL)
            setenv("OPENCLAW_FAULT_NAME", name, 1);
        for (int i = 0; i < 5; i++)
            FAULT_POINT(i % 2 == 0 ? "a" : "b");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void assert_log(const char *wanted)
{
    char text[256];
    FILE *file = fopen(log_file, "r");
    size_t len;

    assert_non_null(file);
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    assert_string_equal(text, wanted);
}

static void without_a_number_nothing_dies(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, NULL), 0);
    assert_log("1 a\n2 b\n3 a\n4 b\n5 a\n");
}

static void it_dies_at_the_nth(void **state)
{
    (void)state;
    assert_int_equal(run("3", NULL), SIGKILL);
    assert_log("1 a\n2 b\n3 a\n");
}

static void it_survives_when_there_is_no_nth(void **state)
{
    (void)state;
    assert_int_equal(run("6", NULL), 0);
}

static void only_points_of_a_name_count(void **state)
{
    (void)state;
    assert_int_equal(run("2", "b"), SIGKILL);
    assert_log("1 b\n2 b\n");
}

static void a_wrong_number_is_not_ignored(void **state)
{
    (void)state;
    assert_int_equal(run("three", NULL), SIGABRT);
    assert_int_equal(run("0", NULL), SIGABRT);
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(without_a_number_nothing_dies),    WITH_LOG(it_dies_at_the_nth),
        WITH_LOG(it_survives_when_there_is_no_nth), WITH_LOG(only_points_of_a_name_count),
        WITH_LOG(a_wrong_number_is_not_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
