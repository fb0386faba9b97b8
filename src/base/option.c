/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/env_file.h"
#include "base/text.h"

#define DEFAULT_FILE    "/etc/openclaw-gateway/gateway.env"
#define RUNTIME_DIR_MAX 60  /* the name of a socket must fit behind it */
#define SOCKET_PATH_MAX 107 /* sockaddr_un */

/* --- the table ----------------------------------------------------------------------------------
 */

struct text_check {
    bool (*passes)(struct text value);
    const char *allowed;
};

static bool is_printable(struct text value)
{
    if (!utf8_valid(value))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7F)
            return false;
    }
    return true;
}

static bool is_identifier(struct text value)
{
    if (value.len == 0 || value.len > 63 || (value.data[0] >= '0' && value.data[0] <= '9'))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

static bool is_path(struct text value)
{
    return is_printable(value) && value.data[0] == '/' && value.len <= SOCKET_PATH_MAX;
}

static bool is_dsn(struct text value)
{
    return is_printable(value) &&
           (text_starts(value, "postgres://") || text_starts(value, "postgresql://") ||
            memchr(value.data, '=', value.len) != NULL);
}

static const struct text_check text_check_any = {is_printable, "text without control characters"};
static const struct text_check text_check_identifier = {
    is_identifier, "a lower-case SQL identifier: a-z, 0-9 and _, at most 63, no digit first"};
static const struct text_check text_check_agent_id = {
    text_is_agent_id, "a letter or digit, then letters, digits and . _ -, at most 64"};
static const struct text_check text_check_path = {is_path, "an absolute path of at most 107 bytes"};
static const struct text_check dsn_check = {
    is_dsn, "a libpq URI (postgresql://…) or keyword string (host=… dbname=…)"};

enum kind { KIND_TEXT, KIND_INT, KIND_CHOICE, KIND_SECRET };

struct row {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *otherwise;
    const struct text_check *check;
    int64_t number, min, max; /* of KIND_INT; number is the default */
    const char *choices;
};

static const struct row rows[] = {
#define OPTION_TEXT(field, name, otherwise, check, help)                                           \
    {name, KIND_TEXT, offsetof(struct options, field), otherwise, &check, 0, 0, 0, NULL},
#define OPTION_INT(field, name, otherwise, min, max, help)                                         \
    {name, KIND_INT, offsetof(struct options, field), NULL, NULL, otherwise, min, max, NULL},
#define OPTION_CHOICE(field, name, otherwise, choices, help)                                       \
    {name, KIND_CHOICE, offsetof(struct options, field), otherwise, NULL, 0, 0, 0, choices},
#define OPTION_SECRET(field, name, help)                                                           \
    {name, KIND_SECRET, offsetof(struct options, field), "", &dsn_check, 0, 0, 0, NULL},
#include "base/option.def"
#undef OPTION_TEXT
#undef OPTION_INT
#undef OPTION_CHOICE
#undef OPTION_SECRET
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* --- loading ------------------------------------------------------------------------------------
 */

struct setting {
    const char *value; /* NULL: not set */
    const char *place; /* "FILE:LINE" or "environment" */
    bool refused;
};

struct loading {
    struct arena *arena;
    const char *file;
    option_check *check;
    FILE *report;
    unsigned faults;
    struct setting settings[ROW_COUNT];
};

static void fault(struct loading *loading, const char *place, const char *name, const char *what)
{
    loading->faults++;
    (void)fprintf(loading->report, "%s: %s%s%s\n", place, name, *name != '\0' ? ": " : "", what);
}

static size_t row_index(const char *name)
{
    size_t i = 0;

    while (i < ROW_COUNT && strcmp(rows[i].name, name) != 0)
        i++;
    return i;
}

/* How many letters must be added, dropped or changed to turn one into the other. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64], len = (unsigned)strlen(b);

    if (len >= 63 || strlen(a) >= 63)
        return UINT32_MAX;
    for (unsigned k = 0; k <= len; k++)
        row[k] = k;
    for (unsigned i = 0; a[i] != '\0'; i++) {
        unsigned diagonal = row[0];

        row[0] = i + 1;
        for (unsigned k = 0; k < len; k++) {
            unsigned cost = diagonal + (a[i] != b[k]);

            diagonal = row[k + 1];
            if (cost > diagonal + 1)
                cost = diagonal + 1;
            if (cost > row[k] + 1)
                cost = row[k] + 1;
            row[k + 1] = cost;
        }
    }
    return row[len];
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned least = 4; /* farther away is no help */

    for (size_t i = 0; i < ROW_COUNT; i++) {
        unsigned far = distance(name, rows[i].name);

        if (far < least) {
            least = far;
            best = rows[i].name;
        }
    }
    return best;
}

static void take_line(void *context, unsigned line, const char *name, const char *value,
                      const char *what)
{
    struct loading *loading = context;
    const char *place = arena_printf(loading->arena, "%s:%u", loading->file, line);
    const char *near;
    size_t i;

    if (what != NULL) {
        fault(loading, place, "", what);
        return;
    }
    if (text_starts(text_of(name), "PG")) {
        what = loading->check != NULL ? loading->check(name, value) : NULL;
        if (what != NULL)
            fault(loading, place, name, what);
        else if (setenv(name, value, 0) != 0)
            fault(loading, place, name, "cannot be put into the environment");
        return;
    }
    i = row_index(name);
    if (i == ROW_COUNT) {
        near = nearest(name);
        fault(loading, place, name,
              near != NULL
                  ? arena_printf(loading->arena, "there is no such option; is %s meant?", near)
                  : "there is no such option");
    } else if (loading->settings[i].place != NULL) {
        fault(loading, place, name,
              arena_printf(loading->arena, "is set before, at %s", loading->settings[i].place));
    } else {
        loading->settings[i] = (struct setting){.value = value, .place = place};
    }
}

static void read_file(struct loading *loading, const char *file)
{
    const char *named = file != NULL ? file : getenv("GATEWAY_ENV");
    struct failure failure;
    enum error error;

    loading->file = named != NULL && *named != '\0' ? named : DEFAULT_FILE;
    error = env_file_read(loading->arena, loading->file, take_line, loading, &failure);
    if (error == ERR_NOT_FOUND && loading->file != named)
        return; /* nobody said that there must be one */
    if (error != OK)
        fault(loading, loading->file, "", failure.detail);
}

/* For a child of a web server, or of websocketd, HTTP_THREADS is a header that the client sent. */
static bool is_a_header(const char *name)
{
    return strncmp(name, "HTTP_", 5) == 0 && getenv("GATEWAY_INTERFACE") != NULL;
}

/* An empty value means the same as none, in the file as in the environment. */
static void read_environment(struct loading *loading)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *value = is_a_header(rows[i].name) ? NULL : getenv(rows[i].name);
        struct setting *setting = &loading->settings[i];

        if (value != NULL && *value != '\0')
            *setting = (struct setting){.value = arena_string(loading->arena, value),
                                        .place = "environment"};
        else if (setting->value != NULL && *setting->value == '\0')
            setting->value = NULL;
    }
}

/* The index of `value` in "a|b|c"; -1: none of them. */
static int choice_index(const char *choices, const char *value)
{
    size_t len = strlen(value);
    int index = 0;

    for (;;) {
        size_t size = strcspn(choices, "|");

        if (size == len && memcmp(choices, value, len) == 0)
            return index;
        if (choices[size] == '\0')
            return -1;
        choices += size + 1;
        index++;
    }
}

static void refuse(struct loading *loading, const struct row *row, struct setting *setting,
                   const char *allowed)
{
    bool shown = row->kind != KIND_SECRET && is_printable(text_of(setting->value));

    setting->refused = true;
    fault(loading, setting->place, row->name,
          arena_printf(loading->arena, "%s%.100s%sis not allowed; it must be %s", shown ? "\"" : "",
                       shown ? setting->value : "the value ", shown ? "\" " : "", allowed));
}

static void convert(struct loading *loading, const struct row *row, struct setting *setting,
                    struct options *options)
{
    void *field = (char *)options + row->offset;
    const char *value = setting->value != NULL ? setting->value : row->otherwise;
    struct arena *arena = loading->arena;
    const char *allowed = NULL;
    int64_t number = row->number;
    int index;

    switch (row->kind) {
    case KIND_TEXT:
    case KIND_SECRET:
        if (setting->value != NULL && !row->check->passes(text_of(value)))
            allowed = row->check->allowed;
        else if (setting->value != NULL && row->kind == KIND_SECRET && loading->check != NULL)
            allowed = loading->check(row->name, value);
        if (allowed != NULL)
            refuse(loading, row, setting, allowed);
        memcpy(field, &value, sizeof(value));
        break;
    case KIND_INT:
        if (setting->value != NULL && text_int64(text_of(value), row->min, row->max, &number) != OK)
            refuse(
                loading, row, setting,
                arena_printf(arena, "a number from %" PRId64 " to %" PRId64, row->min, row->max));
        memcpy(field, &number, sizeof(number));
        break;
    case KIND_CHOICE:
        index = choice_index(row->choices, value);
        if (index < 0)
            refuse(loading, row, setting, arena_printf(arena, "one of %s", row->choices));
        memcpy(field, &index, sizeof(index));
        break;
    }
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* A rule about `name`, and perhaps `other`, is broken. It is said at the line of the one that is
 * set; where one of them is not allowed by itself, that has been said, and is enough. */
static void broken(struct loading *loading, const char *name, const char *other, const char *what)
{
    const struct setting *first = &loading->settings[row_index(name)];
    const struct setting *second = &loading->settings[row_index(other)];

    if (first->refused || second->refused)
        return;
    if (first->value != NULL)
        fault(loading, first->place, name, what);
    else
        fault(loading, second->place, other, what);
}

/* What holds between values, each of which is allowed by itself. */
static void check_rules(struct loading *loading, const struct options *options)
{
    struct arena *arena = loading->arena;

    if (options->auth_mode == AUTH_NONE && !is_loopback(options->host))
        broken(loading, "AUTH_MODE", "HOST",
               "none is for a development machine: HOST must then be 127.0.0.1, ::1 or localhost");
    if (strlen(options->runtime_dir) > RUNTIME_DIR_MAX)
        broken(loading, "RUNTIME_DIR", "RUNTIME_DIR",
               "it must be at most 60 bytes long, so that a socket's path fits behind it");
    if (options->retry_base_ms > options->retry_max_ms)
        broken(loading, "RETRY_BASE_MS", "RETRY_MAX_MS",
               arena_printf(arena,
                            "RETRY_BASE_MS (%" PRId64
                            ") must not be more than RETRY_MAX_MS (%" PRId64 ")",
                            options->retry_base_ms, options->retry_max_ms));
    if (options->session_buffer_bytes < options->max_message_size)
        broken(loading, "MAX_MESSAGE_SIZE", "SESSION_BUFFER_BYTES",
               arena_printf(arena,
                            "SESSION_BUFFER_BYTES (%" PRId64
                            ") must not be less than MAX_MESSAGE_SIZE (%" PRId64
                            "): a frame would never fit",
                            options->session_buffer_bytes, options->max_message_size));
    if (strcmp(options->dbos_schema, "openclaw") == 0 ||
        strcmp(options->dbos_schema, "information_schema") == 0 ||
        strncmp(options->dbos_schema, "pg_", 3) == 0)
        broken(loading, "DBOS_SCHEMA", "DBOS_SCHEMA",
               "openclaw, information_schema and pg_… are taken; choose another name");
}

static const char *machine_name(struct arena *arena)
{
    char name[256] = "";

    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0')
        return "localhost";
    return arena_string(arena, name);
}

enum error options_load(struct options *ret_options, const char *file, option_check *check,
                        FILE *report)
{
    static struct arena *arena; /* texts live until the process ends; found again, so no leak */
    struct loading loading = {.check = check, .report = report};
    struct options options;

    if (arena == NULL)
        arena = arena_new();
    memset(&options, 0, sizeof(options));
    loading.arena = arena;
    read_file(&loading, file);
    read_environment(&loading);
    for (size_t i = 0; i < ROW_COUNT; i++)
        convert(&loading, &rows[i], &loading.settings[i], &options);
    check_rules(&loading, &options);
    if (loading.faults > 0)
        return ERR_CONFIG;
    if (*options.host_name == '\0')
        options.host_name = machine_name(arena);
    *ret_options = options;
    return OK;
}

/* --- arguments ----------------------------------------------------------------------------------
 */

static const char common_usage[] =
    "  --config FILE    read this file instead of " DEFAULT_FILE "\n"
    "                   (or of the one that the environment variable GATEWAY_ENV names)\n"
    "  --check-config   say what is wrong with the configuration, and end\n"
    "  --version, -h, --help\n";

int options_from_arguments(struct options *ret_options, int argc, char **argv, const char *usage,
                           option_check *check, enum option_check_when when)
{
    const char *file = NULL;
    bool check_only = false;
    int i = 1;

    for (; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0) {
            if (i + 1 == argc) {
                (void)fprintf(stderr, "%s: --config needs the name of a file\n", argv[0]);
                exit(error_exit_code(ERR_INVALID_REQUEST));
            }
            file = argv[++i];
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            file = argv[i] + 9;
        } else if (strcmp(argv[i], "--check-config") == 0) {
            check_only = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            (void)puts(PACKAGE_STRING);
            exit(0);
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)printf("%s%s", usage, common_usage);
            exit(0);
        } else {
            break;
        }
    }
    if (when == CHECK_WHEN_TOLD && !check_only)
        check = NULL;
    if (options_load(ret_options, file, check, stderr) != OK)
        exit(error_exit_code(ERR_CONFIG));
    if (check_only) {
        (void)puts("configuration ok");
        exit(0);
    }
    return i;
}

void options_print(const struct options *options, FILE *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *field = (const char *)options + rows[i].offset;
        const char *text;
        int64_t number;
        int index;

        switch (rows[i].kind) {
        case KIND_TEXT:
            memcpy(&text, field, sizeof(text));
            (void)fprintf(out, "%s=%s\n", rows[i].name, text);
            break;
        case KIND_SECRET:
            memcpy(&text, field, sizeof(text));
            (void)fprintf(out, "%s=%s\n", rows[i].name, *text != '\0' ? "(set)" : "(not set)");
            break;
        case KIND_INT:
            memcpy(&number, field, sizeof(number));
            (void)fprintf(out, "%s=%" PRId64 "\n", rows[i].name, number);
            break;
        case KIND_CHOICE:
            memcpy(&index, field, sizeof(index));
            text = rows[i].choices;
            for (; index > 0; index--)
                text += strcspn(text, "|") + 1;
            (void)fprintf(out, "%s=%.*s\n", rows[i].name, (int)strcspn(text, "|"), text);
            break;
        }
    }
}
