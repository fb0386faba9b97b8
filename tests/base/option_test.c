/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/option.h"
#include "unit.h"

static char path[] = "/tmp/option.XXXXXX";
static char report[8192];
static struct options options;
static option_check *check; /* what only libpq knows; there is no libpq here */

static const char *const touched[] = {"PORT",      "HOST",   "GATEWAY_ENV",  "DATABASE_URL",
                                      "APP_NAME",  "PGHOST", "PGPORT",       "AUTH_MODE",
                                      "LOG_LEVEL", "PGUSER", "RETRY_BASE_MS"};

static int start(void **state)
{
    int fd;

    (void)state;
    for (size_t i = 0; i < sizeof(touched) / sizeof(*touched); i++)
        unsetenv(touched[i]);
    memcpy(path, "/tmp/option.XXXXXX", sizeof(path));
    fd = mkstemp(path);
    memset(&options, 0, sizeof(options));
    return fd < 0 ? -1 : close(fd);
}

static int stop(void **state)
{
    (void)state;
    return unlink(path);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static enum error load(const char *file)
{
    FILE *out = fmemopen(report, sizeof(report), "w");
    enum error error;

    assert_non_null(out);
    report[0] = '\0';
    error = options_load(&options, file, check, out);
    assert_int_equal(fclose(out), 0);
    return error;
}

static enum error load_text(const char *text)
{
    write_file(text);
    return load(path);
}

static void assert_loads(const char *text)
{
    if (load_text(text) != OK)
        fail_msg("%s", report);
    assert_string_equal(report, "");
}

/* Loading fails, and the report holds this, with the file's name in the place of the @. */
static void assert_faults(const char *text, const char *wanted)
{
    static const struct options untouched;
    char line[1024];
    const char *at = strchr(wanted, '@');

    assert_int_equal(load_text(text), ERR_CONFIG);
    if (at != NULL)
        (void)snprintf(line, sizeof(line), "%.*s%s%s", (int)(at - wanted), wanted, path, at + 1);
    else
        (void)snprintf(line, sizeof(line), "%s", wanted);
    if (strstr(report, line) == NULL)
        fail_msg("wanted: %s\ngot: %s", line, report);
    assert_memory_equal(&options, &untouched, sizeof(options));
}

static void defaults(void **state)
{
    (void)state;
    assert_loads("");
    assert_string_equal(options.host, "127.0.0.1");
    assert_int_equal(options.port, 18789);
    assert_string_equal(options.dbos_schema, "dbos_system");
    assert_int_equal(options.max_message_size, 1048576);
    assert_int_equal(options.auth_mode, AUTH_TOKEN);
    assert_int_equal(options.log_level, 1);
    assert_string_equal(options.database_url, "");
    assert_true(strlen(options.host_name) > 0);
}

static void a_file(void **state)
{
    (void)state;
    assert_loads("# comment\n"
                 "\n"
                 "  # another\n"
                 "PORT=1234\r\n"
                 "export APP_NAME=mine\n"
                 "HOST='::1'  \n"
                 "AUTH_MODE=none\n"
                 "LOG_LEVEL=\n"
                 "DATABASE_URL=\"postgresql:///x?a=\\\"1\\\"&b=\\$\\`\\\\ c\"\n"
                 "RETENTION_MS=31536000000\n"
                 "ALLOWED_ORIGINS='https://a \"#\" https://b'");
    assert_int_equal(options.port, 1234);
    assert_string_equal(options.app_name, "mine");
    assert_string_equal(options.host, "::1");
    assert_int_equal(options.auth_mode, AUTH_NONE);
    assert_int_equal(options.log_level, 1); /* empty is as good as absent */
    assert_string_equal(options.database_url, "postgresql:///x?a=\"1\"&b=$`\\ c");
    assert_int_equal(options.retention_ms, 31536000000);
    assert_string_equal(options.allowed_origins, "https://a \"#\" https://b");
}

static void the_environment_goes_before_the_file(void **state)
{
    (void)state;
    setenv("PORT", "4321", 1);
    setenv("APP_NAME", "", 1);
    assert_loads("PORT=1234\nAPP_NAME=mine\n");
    assert_int_equal(options.port, 4321);
    assert_string_equal(options.app_name, "mine");
    memset(&options, 0, sizeof(options));
    setenv("PORT", "none", 1);
    assert_faults("PORT=1234\n", "environment: PORT: \"none\" is not allowed; it must be a number "
                                 "from 1 to 65535\n");
}

static void names_of_libpq_become_environment(void **state)
{
    (void)state;
    setenv("PGPORT", "1", 1);
    assert_loads("PGHOST=/run/x\nPGPORT=2\nexport PGUSER='a b'\n");
    assert_string_equal(getenv("PGHOST"), "/run/x");
    assert_string_equal(getenv("PGPORT"), "1");
    assert_string_equal(getenv("PGUSER"), "a b");
}

static void each_fault_is_named_with_its_place(void **state)
{
    (void)state;
    assert_faults("\nPORT=99999\n", "@:2: PORT: \"99999\" is not allowed; it must be a number from "
                                    "1 to 65535\n");
    assert_faults("PORT=0\n", "@:1: PORT: ");
    assert_faults("PORT=80x\n", "@:1: PORT: ");
    assert_faults("LOG_LEVEL=loud\n", "@:1: LOG_LEVEL: \"loud\" is not allowed; it must be one of "
                                      "debug|info|warn|error\n");
    assert_faults("LOG_LEVEL=deb\n", "@:1: LOG_LEVEL: ");
    assert_faults("LOG_LEVEL='debug|info'\n", "@:1: LOG_LEVEL: ");
    assert_faults("DBOS_SCHEMA=Dbos\n", "@:1: DBOS_SCHEMA: \"Dbos\" is not allowed; it must be a "
                                        "lower-case SQL identifier");
    assert_faults("RUNTIME_DIR=run\n", "@:1: RUNTIME_DIR: \"run\" is not allowed; it must be an "
                                       "absolute path");
    assert_faults("APP_NAME='a b'\n", "@:1: APP_NAME: ");
    assert_faults("HOST='a\tb'\n", "@:1: HOST: the value is not allowed; it must be text without");
    assert_faults("PORT=1\nHOST=x\nPORT=2\n", "@:3: PORT: is set before, at ");
}

static void all_faults_are_reported(void **state)
{
    (void)state;
    assert_faults("PORT=x\nLOG_LEVEL=y\nnonsense\n", "@:1: PORT");
    assert_non_null(strstr(report, ":2: LOG_LEVEL"));
    assert_non_null(strstr(report, ":3: a line is NAME=value"));
    /* a broken rule is said beside other faults, but not about a value that is one itself */
    assert_faults("PORT=x\nAUTH_MODE=none\nHOST=0.0.0.0\n", "@:2: AUTH_MODE: none is");
    assert_non_null(strstr(report, ":1: PORT"));
    assert_faults("RETRY_BASE_MS=60001\nRETRY_MAX_MS=x\n", "@:2: RETRY_MAX_MS: \"x\"");
    assert_null(strstr(report, "RETRY_BASE_MS"));
}

static const char *dislikes_x(const char *name, const char *value)
{
    (void)name;
    return strcmp(value, "x=x") == 0 ? "another letter" : NULL;
}

static void what_libpq_says_is_a_fault(void **state)
{
    (void)state;
    check = dislikes_x;
    assert_faults("\nDATABASE_URL=\"x=x\"\n",
                  "@:2: DATABASE_URL: the value is not allowed; it must be another letter\n");
    assert_faults("PGUSER=x=x\n", "@:1: PGUSER: another letter\n");
    assert_null(getenv("PGUSER"));
    assert_loads("DATABASE_URL=\"y=x\"\nPGUSER=y\n");
    check = NULL;
}

static void a_nul_hides_nothing(void **state)
{
    static const char text[] = "PORT=1\n#\0\nHOST=::1\0 and more\nAPP_NAME=mine";
    FILE *file;

    (void)state;
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof(text) - 1, file), sizeof(text) - 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(load(path), ERR_CONFIG);
    assert_non_null(strstr(report, ":3: the line has a NUL byte in it\n"));
    assert_null(strstr(report, ":4:"));
}

static void unknown_names_get_the_nearest(void **state)
{
    (void)state;
    assert_faults("PROT=1\n", "@:1: PROT: there is no such option; is PORT meant?\n");
    assert_faults("DBOS_SHEMA=x\n", "is DBOS_SCHEMA meant?\n");
    assert_faults("log_level=info\n", "@:1: log_level: there is no such option\n");
    assert_faults("WHATEVER_THIS_IS=1\n", "@:1: WHATEVER_THIS_IS: there is no such option\n");
    assert_faults("A123456789B123456789C123456789D123456789E123456789F123456789G123=1\n",
                  "there is no such option\n");
}

static void lines_that_others_would_read_differently(void **state)
{
    static const char *const rows[] = {
        "PORT = 1\n",   "PORT\n",        "=1\n",           "1PORT=1\n",      "PO-RT=1\n",
        "HOST=a b\n",   "HOST=a # b\n",  "HOST='a' # b\n", "HOST='a\n",      "HOST=\"a\n",
        "HOST=a'b'\n",  "HOST=\"a\"b\n", "HOST=\"$x\"\n",  "HOST=\"`x`\"\n", "HOST=\"a\\n\"\n",
        "HOST=\"a\\\n", "HOST=a\\b\n",   "export\n",       "HOST=\xFF\n",
    };
    char text[9000] = "HOST=";

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_faults(rows[i], "@:1: ");
    memset(text + 5, 'a', 8300);
    memcpy(text + 5 + 8300, "\nPORT=x\n", 9);
    assert_faults(text, "@:1: the line is longer than");
    assert_non_null(strstr(report, ":2: PORT: \"x\""));
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    assert_faults("DATABASE_URL=hunter2\n", "@:1: DATABASE_URL: the value is not allowed");
    assert_null(strstr(report, "hunter2"));
    assert_loads("DATABASE_URL=postgresql://u:hunter2@h/d\n");
    {
        FILE *out = fmemopen(report, sizeof(report), "w");

        assert_non_null(out);
        options_print(&options, out);
        assert_int_equal(fclose(out), 0);
    }
    assert_null(strstr(report, "hunter2"));
    assert_non_null(strstr(report, "\nDATABASE_URL=(set)\nDIRECT_DATABASE_URL=(not set)\n"));
    assert_non_null(strstr(report, "HOST=127.0.0.1\nPORT=18789\n"));
    assert_non_null(strstr(report, "\nLOG_LEVEL=info\nAUTH_MODE=token\n"));
}

static void rules_between_values(void **state)
{
    static const char *const loopback[] = {"127.0.0.1", "127.9.9.9", "::1", "localhost"};
    static const char *const others[] = {
        "0.0.0.0", "10.0.0.1", "::", "example.org", "127.0.0.1.example.org", "128.0.0.1"};
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(loopback) / sizeof(*loopback); i++) {
        (void)snprintf(text, sizeof(text), "AUTH_MODE=none\nHOST=%s\n", loopback[i]);
        assert_loads(text);
    }
    memset(&options, 0, sizeof(options));
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        (void)snprintf(text, sizeof(text), "AUTH_MODE=none\nHOST=%s\n", others[i]);
        assert_faults(text, "@:1: AUTH_MODE: none is for a development machine");
    }
    assert_faults("RUNTIME_DIR=/234567890123456789012345678901234567890123456789012345678901\n",
                  "@:1: RUNTIME_DIR: it must be at most 60 bytes");
    assert_faults("\nRETRY_BASE_MS=60001\n",
                  "@:2: RETRY_BASE_MS: RETRY_BASE_MS (60001) must not be "
                  "more than RETRY_MAX_MS (60000)\n");
    assert_faults("RETRY_MAX_MS=499\n", "@:1: RETRY_MAX_MS: RETRY_BASE_MS (500) must not be more");
    assert_faults("MAX_MESSAGE_SIZE=4194305\n",
                  "@:1: MAX_MESSAGE_SIZE: SESSION_BUFFER_BYTES (4194304"
                  ") must not be less than MAX_MESSAGE_SIZE");
    assert_faults("DBOS_SCHEMA=openclaw\n", "@:1: DBOS_SCHEMA: ");
    assert_faults("DBOS_SCHEMA=pg_x\n", "@:1: DBOS_SCHEMA: ");
}

static void a_file_that_is_not_there(void **state)
{
    (void)state;
    assert_int_equal(load("/nonexistent/gateway.env"), ERR_CONFIG);
    assert_non_null(strstr(report, "/nonexistent/gateway.env: cannot read"));
    setenv("GATEWAY_ENV", "/nonexistent/other.env", 1);
    assert_int_equal(load(NULL), ERR_CONFIG);
    assert_non_null(strstr(report, "/nonexistent/other.env"));
    setenv("GATEWAY_ENV", path, 1);
    write_file("PORT=77\n");
    assert_int_equal(load(NULL), OK);
    assert_int_equal(options.port, 77);
    assert_int_equal(load("/tmp"), ERR_CONFIG);
}

/* Runs options_from_arguments() in a child; returns its exit code, or 200 + what it returned. */
static int run(const char *const *arguments)
{
    char *argv[8] = {NULL};
    int argc = 0, status, out[2];
    ssize_t len;
    pid_t child;

    for (; arguments[argc] != NULL; argc++)
        argv[argc] = strdup(arguments[argc]);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(fflush(NULL), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int code;

        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(out[1], STDERR_FILENO);
        code = options_from_arguments(&options, argc, argv, "usage: unit\n", check, CHECK_WHEN_TOLD);
        exit(200 + code);
    }
    (void)close(out[1]);
    len = read(out[0], report, sizeof(report) - 1);
    report[len > 0 ? len : 0] = '\0';
    (void)close(out[0]);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(...) run((const char *const[]){"unit", __VA_ARGS__, NULL})

static void arguments(void **state)
{
    (void)state;
    write_file("PORT=77\n");
    assert_int_equal(RUN("--config", path), 203);
    assert_int_equal(RUN("--config", path, "agent", "list"), 203);
    assert_int_equal(RUN("--config", path, "--once"), 203);
    assert_int_equal(RUN("--check-config", "--config", path), 0);
    assert_string_equal(report, "configuration ok\n");
    assert_int_equal(RUN("--version"), 0);
    assert_string_equal(report, PACKAGE_STRING "\n");
    assert_int_equal(RUN("--help"), 0);
    assert_memory_equal(report, "usage: unit\n  --config", 22);
    assert_int_equal(RUN("--config"), 64);
    write_file("PORT=x\n");
    assert_int_equal(RUN("--check-config", "--config", path), 78);
    assert_non_null(strstr(report, ":1: PORT: "));
    {
        char joined[64];

        (void)snprintf(joined, sizeof(joined), "--config=%s", path);
        assert_int_equal(RUN(joined, "x"), 78);
    }
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILE(defaults),
        WITH_FILE(a_file),
        WITH_FILE(the_environment_goes_before_the_file),
        WITH_FILE(names_of_libpq_become_environment),
        WITH_FILE(each_fault_is_named_with_its_place),
        WITH_FILE(all_faults_are_reported),
        WITH_FILE(what_libpq_says_is_a_fault),
        WITH_FILE(a_nul_hides_nothing),
        WITH_FILE(unknown_names_get_the_nearest),
        WITH_FILE(lines_that_others_would_read_differently),
        WITH_FILE(secrets_are_not_shown),
        WITH_FILE(rules_between_values),
        WITH_FILE(a_file_that_is_not_there),
        WITH_FILE(arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
