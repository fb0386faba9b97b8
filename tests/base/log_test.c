/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "unit.h"

static int saved, reader, writer;
static char got[65536];

/* stderr becomes a pipe */
static int redirect(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    reader = ends[0];
    writer = ends[1];
    assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
    saved = dup(STDERR_FILENO);
    assert_true(dup2(writer, STDERR_FILENO) >= 0);
    log_open("unit", LOG_INFO);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(reader);
    close(writer);
    return 0;
}

static const char *take(void)
{
    ssize_t len = read(reader, got, sizeof(got) - 1);

    got[len > 0 ? len : 0] = '\0';
    return got;
}

static const char *after(const char *line, const char *mark)
{
    const char *found = strstr(line, mark);

    assert_non_null(found);
    return found;
}

static void a_line_is_one_object(void **state)
{
    const char *line;

    (void)state;
    log_event(LOG_INFO, "sweep", LOG_STR("host", "h1"), LOG_INT("count", -3),
              LOG_TEXT("gone", TEXT_NONE));
    line = take();
    assert_memory_equal(line, "{\"ts\":\"20", 9);
    assert_string_equal(after(line, ",\"event\""),
                        ",\"event\":\"sweep\",\"host\":\"h1\",\"count\":-3}\n");
    assert_non_null(strstr(line, "\"level\":\"info\",\"program\":\"unit\",\"pid\":"));
}

static void what_is_below_the_level_is_not_written(void **state)
{
    (void)state;
    log_write(LOG_DEBUG, "quiet", NULL, 0);
    assert_string_equal(take(), "");
    log_write(LOG_ERROR, "loud", NULL, 0);
    assert_non_null(strstr(take(), "\"event\":\"loud\"}\n"));
}

static void values_are_escaped(void **state)
{
    (void)state;
    log_event(LOG_WARN, "e",
              LOG_TEXT("v", TEXT_LITERAL("a\"b\\c\n\t\x01\x7F"
                                         "d/\0e\xC3\xA9")));
    assert_non_null(
        strstr(take(), "\"v\":\"a\\\"b\\\\c\\u000a\\u0009\\u0001\\u007fd/\\ufffde\xC3\xA9\"}"));
    log_event(LOG_WARN, "e", LOG_TEXT("v", TEXT_LITERAL("x\xFF\xC3z\xE2\x82")));
    assert_non_null(strstr(take(), "\"v\":\"x\\ufffd\\ufffdz\\ufffd\\ufffd\"}"));
}

static void a_long_value_is_cut_between_characters(void **state)
{
    char value[1000];
    const char *line;

    (void)state;
    value[0] = 'x';
    for (size_t i = 1; i + 1 < sizeof(value); i += 2)
        memcpy(value + i, "\xC3\xA9", 2);
    log_event(LOG_INFO, "e", LOG_TEXT("v", ((struct text){value, sizeof(value)})));
    line = after(take(), "\"v\":\"");
    assert_int_equal(strlen(line),
                     strlen("\"v\":\"") + LOG_VALUE_MAX - 1 + strlen("\xE2\x80\xA6\"}\n"));
    assert_true(utf8_valid(text_of(line)));
}

static void a_line_is_never_too_long(void **state)
{
    char value[300];
    const char *line;

    (void)state;
    memset(value, 1, sizeof(value)); /* six bytes each when escaped */
    log_event(LOG_INFO, "e", LOG_STR("first", "1"), LOG_TEXT("a", ((struct text){value, 300})),
              LOG_TEXT("b", ((struct text){value, 300})), LOG_INT("last", 7));
    line = take();
    assert_true(strlen(line) <= LOG_LINE_MAX);
    assert_non_null(strstr(line, "\"first\":\"1\",\"a\":\"\\u0001"));
    assert_null(strstr(line, "\"b\""));
    assert_string_equal(after(line, ",\"last\""), ",\"last\":7,\"cut\":true}\n");
}

static void failures(void **state)
{
    struct failure failure;

    (void)state;
    (void)failure_set(&failure, ERR_UNAVAILABLE, "no route");
    memcpy(failure.sqlstate, "08006", 6);
    log_failure("db", &failure);
    take();
    assert_non_null(strstr(got, "\"level\":\"warn\""));
    assert_non_null(strstr(got, "\"code\":\"UNAVAILABLE\",\"error\":\"the database cannot be "
                                "reached or does not answer in time\","
                                "\"detail\":\"no route\",\"sqlstate\":\"08006\"}"));
    (void)failure_set(&failure, ERR_INTERNAL, "bug");
    log_failure("db", &failure);
    take();
    assert_non_null(strstr(got, "\"level\":\"error\""));
    assert_null(strstr(got, "sqlstate"));
}

/* A full pipe must not stop the process; and it is told afterwards. */
static void a_full_pipe_drops_and_counts(void **state)
{
    char value[300];
    size_t lines = 0, kept = 0;

    (void)state;
    memset(value, 'x', sizeof(value));
    for (; lines < 1000; lines++)
        log_event(LOG_INFO, "e", LOG_TEXT("v", ((struct text){value, sizeof(value)})));
    while (*take() != '\0')
        for (const char *c = got; *c != '\0'; c++)
            kept += *c == '\n';
    assert_in_range(kept, 1, 999);
    log_write(LOG_INFO, "now", NULL, 0);
    take();
    {
        char wanted[64];

        (void)snprintf(wanted, sizeof(wanted), "\"event\":\"now\",\"dropped\":%zu}", lines - kept);
        assert_non_null(strstr(got, wanted));
    }
    log_write(LOG_INFO, "then", NULL, 0);
    assert_null(strstr(take(), "dropped"));
}

#define WITH_PIPE(test) cmocka_unit_test_setup_teardown(test, redirect, restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PIPE(a_line_is_one_object),         WITH_PIPE(what_is_below_the_level_is_not_written),
        WITH_PIPE(values_are_escaped),           WITH_PIPE(a_long_value_is_cut_between_characters),
        WITH_PIPE(a_line_is_never_too_long),     WITH_PIPE(failures),
        WITH_PIPE(a_full_pipe_drops_and_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
