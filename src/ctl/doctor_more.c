/* SPDX-License-Identifier: MIT
 *
 * gatewayctl doctor, further checks: what slows a database down after weeks, how websocketd was
 * started, which schedules are not fired.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/doctor.h"
#include "workflow/registry.h"

#define TRANSACTION_OLD_MS 300000
#define TRANSACTIONS_SINCE 50000       /* so many later ones make one old, whenever it began */
#define FROZEN_LATE(limit) ((limit)*2) /* autovacuum should have frozen long before */
#define TEMP_LIMIT_STATE   "53400"
#define WORKFLOWS_MAX      64
#define COMMAND_MAX        8192
#define FORKS_MAX          10000
#define FILES_PER_SESSION  4   /* three pipes and a socket */
#define CLOSE_MS_MIN       250 /* less, and a session is killed while it gives its deliveries back */

enum level doctor_transactions(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *server, *oldest;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_SERVER, &server) ||
        !doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_TRANSACTIONS, &oldest))
        return doctor_failed(doctor, ret_detail);
    int64_t age = db_int_or(oldest, 0, 1, 0), prepared = db_int(server, 0, 6);
    if (prepared > 0) {
        *ret_detail = arena_printf(doctor->arena,
                                   "%lld were prepared and never ended: vacuum cannot clean behind "
                                   "them; commit or roll back what pg_prepared_xacts shows",
                                   (long long)prepared);
        return LEVEL_WARN;
    }
    if (age > TRANSACTION_OLD_MS) {
        *ret_detail = arena_printf(
            doctor->arena,
            "the oldest is open for %lld s: vacuum cannot clean behind it; end it: select "
            "pg_terminate_backend(%lld)",
            (long long)(age / 1000), (long long)db_int_or(oldest, 0, 0, 0));
        return LEVEL_WARN;
    }
    if (db_int(server, 0, 7) > TRANSACTIONS_SINCE) {
        *ret_detail = arena_printf(
            doctor->arena,
            "one that writes (pid %lld) is open while %lld others began: vacuum cannot clean "
            "behind it; end it",
            (long long)db_int_or(server, 0, 8, 0), (long long)db_int(server, 0, 7));
        return LEVEL_WARN;
    }
    if (!db_bool(oldest, 0, 2)) {
        *ret_detail = arena_printf(doctor->arena,
                                   "since when those of other roles are open cannot be seen; "
                                   "deploy/sql/roles.sql, run again, grants that: grant "
                                   "pg_read_all_stats to %s",
                                   db_text(oldest, 0, 3).data);
        return LEVEL_WARN;
    }
    *ret_detail = "none is older than five minutes";
    return LEVEL_OK;
}

enum level doctor_disk(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (doctor_rows(doctor, doctor->ctl->db, STATEMENT_DISK_PROBE, &rows)) {
        *ret_detail = "the database's disk has room";
        return LEVEL_OK;
    }
    if (strcmp(doctor->failure.sqlstate, TEMP_LIMIT_STATE) == 0) {
        *ret_detail = "not tried: this role may write no temporary file of 8 MiB (temp_file_limit)";
        return LEVEL_SKIP;
    }
    if (strcmp(doctor->failure.sqlstate, DB_STATE_DISK_FULL) != 0)
        return doctor_failed(doctor, ret_detail);
    *ret_detail =
        "the database's disk has less than 8 MiB left: nothing can be accepted; make room "
        "there, or give it a larger one";
    return LEVEL_FAIL;
}

enum level doctor_vacuum(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_VACUUM, &rows))
        return doctor_failed(doctor, ret_detail);
    int64_t age = db_int(rows, 0, 5), limit = db_int(rows, 0, 6);
    if (!db_bool(rows, 0, 0)) {
        *ret_detail = "autovacuum or track_counts is off: tables grow and claims get slower by the "
                      "day; turn both on";
        return LEVEL_FAIL;
    }
    if (!db_is_null(rows, 0, 1)) {
        *ret_detail = arena_printf(doctor->arena,
                                   "autovacuum leaves %s out; alter table %s reset "
                                   "(autovacuum_enabled)",
                                   db_text(rows, 0, 1).data, db_text(rows, 0, 1).data);
        return LEVEL_WARN;
    }
    if (!db_is_null(rows, 0, 2)) {
        *ret_detail = arena_printf(doctor->arena,
                                   "%s has %lld dead rows beside %lld living ones: something holds "
                                   "vacuum back (see transactions), or it needs a higher "
                                   "autovacuum_vacuum_cost_limit",
                                   db_text(rows, 0, 2).data, (long long)db_int(rows, 0, 3),
                                   (long long)db_int(rows, 0, 4));
        return LEVEL_WARN;
    }
    if (age > FROZEN_LATE(limit)) {
        *ret_detail =
            arena_printf(doctor->arena,
                         "the database was frozen %lld transactions ago; at 2 000 000 000 "
                         "it stops taking writes: run vacuumdb --freeze",
                         (long long)age);
        return LEVEL_WARN;
    }
    *ret_detail = "autovacuum is on and keeps up";
    return LEVEL_OK;
}

enum level doctor_locks(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_LOCKS, &rows))
        return doctor_failed(doctor, ret_detail);
    if (db_rows_count(rows) == 0) {
        *ret_detail = "nobody keeps a table to himself";
        return LEVEL_OK;
    }
    *ret_detail = arena_printf(doctor->arena,
                               "the transaction of process %lld holds %s on %s: who needs it waits "
                               "up to DB_TIMEOUT_MS and is told UNAVAILABLE; end it: select "
                               "pg_terminate_backend(%lld)",
                               (long long)db_int(rows, 0, 0), db_text(rows, 0, 1).data,
                               db_text(rows, 0, 2).data, (long long)db_int(rows, 0, 0));
    return LEVEL_FAIL;
}

static const char *listed(struct doctor *doctor, struct db_rows *rows, unsigned column)
{
    const char *list = "";
    size_t count;
    struct text *names = db_texts(rows, 0, column, &count);

    for (size_t i = 0; i < count; i++)
        list = arena_printf(doctor->arena, "%s%s%s", list, i > 0 ? ", " : "", names[i].data);
    return list;
}

enum level doctor_indexes(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_INDEX, &rows))
        return doctor_failed(doctor, ret_detail);
    const char *missing = listed(doctor, rows, 0), *invalid = listed(doctor, rows, 1);
    if (*missing) {
        *ret_detail = arena_printf(doctor->arena,
                                   "missing: %s; without it whole tables are read; create it as "
                                   "its migration has it (sql/migration of the source, the folder "
                                   "migration beside the installed examples)",
                                   missing);
        return LEVEL_FAIL;
    }
    if (*invalid) {
        *ret_detail = arena_printf(doctor->arena,
                                   "not valid, so not used: %s; its building was interrupted: "
                                   "reindex index it",
                                   invalid);
        return LEVEL_FAIL;
    }
    *ret_detail = "the partial indexes are there";
    return LEVEL_OK;
}

/* ---- websocketd
 * ----------------------------------------------------------------------------------
 */

/* The value of the next --NAME=V, --NAME V, -NAME=V or -NAME V, from *at on, in a command line of
 * `len` bytes whose words end with NUL; NULL: there is none. */
static const char *flag_next(const char *command, size_t len, const char *name, size_t *at)
{
    while (*at < len) {
        const char *word = command + *at;
        size_t dashes = strspn(word, "-");

        *at += strlen(word) + 1;
        if (dashes == 0 || dashes > 2 || strncmp(word + dashes, name, strlen(name)) != 0)
            continue;
        const char *behind = word + dashes + strlen(name);
        if (*behind == '=')
            return behind + 1;
        if (*behind == '\0' && *at < len)
            return command + *at;
    }
    return NULL;
}

static const char *flag_value(const char *command, size_t len, const char *name)
{
    size_t at = 0;

    return flag_next(command, len, name, &at);
}

/* One that needs no value: --NAME, or --NAME=true. */
static bool flag_given(const char *command, size_t len, const char *name)
{
    for (size_t at = 0; at < len; at += strlen(command + at) + 1) {
        const char *word = command + at;
        size_t dashes = strspn(word, "-");
        const char *behind = word + dashes + strlen(name);

        if (dashes > 0 && dashes < 3 && strncmp(word + dashes, name, strlen(name)) == 0 &&
            (*behind == '\0' || (*behind == '=' && strcmp(behind, "=false") != 0)))
            return true;
    }
    return false;
}

/* The address that others than this host may reach, "every address" where none is named; NULL:
 * none. */
static const char *open_address(const char *command, size_t len)
{
    size_t at = 0;
    const char *address = flag_next(command, len, "address", &at);

    if (!address)
        return "every address";
    for (; address; address = flag_next(command, len, "address", &at))
        if (strncmp(address, "127.", 4) != 0 && strcmp(address, "localhost") != 0 &&
            strcmp(address, "[::1]") != 0 && strcmp(address, "::1") != 0)
            return address;
    return NULL;
}

/* How many files it may have open; 0: that is not to be seen. */
static int64_t files_limit(const char *pid)
{
    static const char name[] = "Max open files";
    char path[300], line[256];
    int64_t limit = 0;

    snprintf(path, sizeof(path), "/proc/%s/limits", pid);
    FILE *file = fopen(path, "re");
    while (file && limit == 0 && fgets(line, sizeof(line), file))
        if (strncmp(line, name, sizeof(name) - 1) == 0)
            limit = strtoll(line + sizeof(name) - 1, NULL, 10); /* "unlimited": 0 */
    if (file)
        fclose(file);
    return limit;
}

static bool is_number(const char *entry)
{
    for (; *entry; entry++)
        if (!isdigit((unsigned char)*entry))
            return false;
    return true;
}

static size_t read_command(const char *pid, char *buffer)
{
    char path[300];
    size_t len;

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    len = fread(buffer, 1, COMMAND_MAX - 1, file);
    fclose(file);
    buffer[len] = '\0';
    return len;
}

/* One that runs our sessions; others may have their own. */
static bool is_ours(const char *command, size_t len)
{
    const char *name = strrchr(command, '/') ? strrchr(command, '/') + 1 : command;

    if (strcmp(name, "websocketd") != 0)
        return false;
    for (size_t at = 0; at < len; at += strlen(command + at) + 1)
        if (strstr(command + at, "openclaw-gateway-session"))
            return true;
    return false;
}

static bool lists(const char *list, const char *name)
{
    for (const char *at = list; at && *at; at += strspn(at, ",")) {
        size_t len = strcspn(at, ",");
        if (len == strlen(name) && strncmp(at, name, len) == 0)
            return true;
        at += len;
    }
    return false;
}

/* What it lets through, or shows, that the front server is there to keep. */
static enum level judge_openness(struct doctor *doctor, const char *command, size_t len,
                                 const char **ret_detail)
{
    const char *address = open_address(command, len);
    const char *level = flag_value(command, len, "loglevel");

    if (address) {
        *ret_detail = arena_printf(
            doctor->arena,
            "it listens on %s: clients come past the front server, without TLS and with whatever "
            "address they say they have; start it with --address=127.0.0.1",
            address);
        return LEVEL_FAIL;
    }
    if (flag_given(command, len, "devconsole")) {
        *ret_detail = "it serves its console to everybody; start it without --devconsole";
        return LEVEL_FAIL;
    }
    if (level && (strcmp(level, "access") == 0 || strcmp(level, "trace") == 0 ||
                  strcmp(level, "debug") == 0)) {
        *ret_detail = arena_printf(
            doctor->arena,
            "at --loglevel=%s its log has whole addresses, in which tickets stand; start it with "
            "--loglevel=error",
            level);
        return LEVEL_WARN;
    }
    if (flag_given(command, len, "reverselookup")) {
        *ret_detail = "it asks the DNS about each client before it lets it in; start it without "
                      "--reverselookup";
        return LEVEL_WARN;
    }
    return LEVEL_OK;
}

static enum level judge(struct doctor *doctor, const char *pid, const char *command, size_t len,
                        const char **ret_detail)
{
    enum level openness = judge_openness(doctor, command, len, ret_detail);
    const char *forks = flag_value(command, len, "maxforks");
    const char *pass = flag_value(command, len, "passenv");
    const char *close = flag_value(command, len, "closems");
    int64_t most = 0, close_ms = 0, files = files_limit(pid);

    if (openness != LEVEL_OK)
        return openness;
    if (!forks || text_int64(text_of(forks), 1, FORKS_MAX, &most) != OK) {
        *ret_detail = "websocketd runs without a bound: each client is a process; start it with "
                      "--maxforks=N (1200, say), above which it answers 429";
        return LEVEL_FAIL;
    }
    if (files > 0 && files < most * FILES_PER_SESSION) {
        *ret_detail = arena_printf(
            doctor->arena,
            "it may have %lld files open, and %lld sessions need %lld; raise LimitNOFILE of its "
            "unit (ulimit -n), or lower --maxforks",
            (long long)files, (long long)most, (long long)(most * FILES_PER_SESSION));
        return LEVEL_WARN;
    }
    if (!lists(pass, "GATEWAY_ENV") && !lists(pass, "DATABASE_URL") && !lists(pass, "PGHOST")) {
        *ret_detail =
            "websocketd passes sessions neither GATEWAY_ENV nor a database: they read the "
            "default file; start it with --passenv=GATEWAY_ENV,PATH";
        return LEVEL_WARN;
    }
    if (!close || text_int64(text_of(close), CLOSE_MS_MIN, INT32_MAX, &close_ms) != OK) {
        *ret_detail =
            "websocketd kills a session soon after its client has left, perhaps before it "
            "gave its deliveries back; start it with --closems=1000";
        return LEVEL_WARN;
    }
    *ret_detail = arena_printf(doctor->arena, "--maxforks %lld, --closems %lld, --passenv %s",
                               (long long)most, (long long)close_ms, pass);
    return LEVEL_OK;
}

/* The next of them among the processes that this user may see, its command line in `command`; NULL:
 * there is none. */
static const char *next_websocketd(DIR *processes, char *command, size_t *ret_len)
{
    for (struct dirent *entry; processes && (entry = readdir(processes)) != NULL;) {
        *ret_len = is_number(entry->d_name) ? read_command(entry->d_name, command) : 0;
        if (*ret_len > 0 && is_ours(command, *ret_len))
            return entry->d_name;
    }
    return NULL;
}

bool websocketd_runs(struct doctor *doctor)
{
    char *command = arena_alloc(doctor->arena, COMMAND_MAX);
    DIR *processes = opendir("/proc");
    size_t len;
    bool found = next_websocketd(processes, command, &len) != NULL;

    if (processes)
        closedir(processes);
    return found;
}

/* The worst of them counts. */
enum level doctor_websocketd(struct doctor *doctor, const char **ret_detail)
{
    char *command = arena_alloc(doctor->arena, COMMAND_MAX);
    enum level worst = LEVEL_OK;
    const char *all = "", *pid;
    DIR *processes = opendir("/proc");
    size_t len;

    while ((pid = next_websocketd(processes, command, &len)) != NULL) {
        const char *detail = "";
        enum level level = judge(doctor, pid, command, len, &detail);

        if (level > worst)
            worst = level;
        all = arena_printf(doctor->arena, "%s%spid %s: %s", all, *all ? "; " : "", pid, detail);
    }
    if (processes)
        closedir(processes);
    *ret_detail = *all ? all : "none runs on this host, or none that this user may see";
    return *all ? worst : LEVEL_SKIP;
}

enum level doctor_schedules(struct doctor *doctor, const char **ret_detail)
{
    struct text names[WORKFLOWS_MAX];
    struct db_rows *rows;
    struct db_call call;
    size_t count = 0;

    for (const struct workflow_definition *d = workflow_definitions;
         d->name && count < WORKFLOWS_MAX; d++)
        names[count++] = text_of(d->name);
    db_call_init(&call, doctor->arena, STATEMENT_DOCTOR_SCHEDULES);
    db_add_string(&call, doctor->ctl->options.app_name);
    db_add_texts(&call, names, count);
    if (db_run(doctor->ctl->db, &call, &doctor->failure, &rows) != OK)
        return doctor_failed(doctor, ret_detail);
    count = db_rows_count(rows);
    if (count > 0 && !db_is_null(rows, 0, 1)) {
        struct text name = db_text(rows, 0, 0), fault = db_text(rows, 0, 1);
        *ret_detail =
            arena_printf(doctor->arena, "%.*s is not fired: %.*s; change it, pause it or delete it",
                         (int)name.len, name.data, (int)fault.len, fault.data);
        return LEVEL_WARN;
    }
    *ret_detail = arena_printf(doctor->arena, "%zu active", count);
    return LEVEL_OK;
}
