/* SPDX-License-Identifier: MIT
 *
 * gatewayctl doctor: looks at everything the gateway needs and says, in a line each, that it is
 * well or what to do. It changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "ctl/doctor.h"
#include "durable/engine.h"
#include "gateway/schema.h"

#define SERVER_MIN      140000 /* server_version_num */
#define POOLER_TRIES    10
#define CLOCK_WARN_MS   2000
#define SOCKET_PATH_MAX 107
#define STATE_NO_RIGHT  "42501"
#define BELL_SUFFIX     ".bell"

static const char *const level_names[] = {"OK", "WARN", "FAIL", "SKIP"};

/* Each returns its level and what it has to say; `error` is what a FAIL means for the exit status.
 */
struct check {
    const char *name;
    bool needs_database;
    enum level (*run)(struct doctor *doctor, const char **ret_detail);
};

bool doctor_rows(struct doctor *doctor, struct db *db, enum statement statement,
                 struct db_rows **ret_rows)
{
    struct db_call call;

    db_call_init(&call, doctor->arena, statement);
    return db_run(db, &call, &doctor->failure, ret_rows) == OK;
}

enum level doctor_failed(struct doctor *doctor, const char **ret_detail)
{
    const char *detail = doctor->failure.detail;

    if (strcmp(doctor->failure.sqlstate, STATE_NO_RIGHT) == 0) /* its advice is to run doctor */
        detail = arena_printf(
            doctor->arena, "%.*s; the role lacks a right: run gatewayctl migrate --app-role ROLE",
            (int)strcspn(detail, ";"), detail);
    *ret_detail =
        arena_printf(doctor->arena, "%s: %s", error_phrase(doctor->failure.error), detail);
    return LEVEL_FAIL;
}

/* ---- the machine --------------------------------------------------------------------------------
 */

static enum level check_configuration(struct doctor *doctor, const char **ret_detail)
{
    const struct options *options = &doctor->ctl->options;

    *ret_detail = arena_printf(doctor->arena, "APP_NAME %s, DBOS_SCHEMA %s, database from %s",
                               options->app_name, options->dbos_schema,
                               *options->database_url ? "DATABASE_URL" : "PG* variables");
    if (options->auth_mode == AUTH_NONE) {
        *ret_detail = "AUTH_MODE=none: everybody is the operator; only for a development machine";
        return LEVEL_WARN;
    }
    if (options->max_message_size > options->session_buffer_bytes) {
        *ret_detail = "MAX_MESSAGE_SIZE is larger than SESSION_BUFFER_BYTES: such a message never "
                      "reaches a WebSocket; raise SESSION_BUFFER_BYTES";
        return LEVEL_WARN;
    }
    return LEVEL_OK;
}

static enum level check_runtime_dir(struct doctor *doctor, const char **ret_detail)
{
    const char *dir = doctor->ctl->options.runtime_dir;
    const char *longest = arena_printf(doctor->arena, "%s/%*s" BELL_SUFFIX, dir, UUID_SIZE - 1, "");

    if (text_of(longest).len > SOCKET_PATH_MAX) {
        *ret_detail = arena_printf(doctor->arena,
                                   "RUNTIME_DIR %s is too long for a socket's path (%d bytes); "
                                   "choose a shorter one",
                                   dir, SOCKET_PATH_MAX);
        return LEVEL_FAIL;
    }
    if (access(dir, F_OK) != 0) {
        *ret_detail =
            arena_printf(doctor->arena,
                         "RUNTIME_DIR %s is not there; the first program that starts makes "
                         "it, if it may",
                         dir);
        return LEVEL_WARN;
    }
    if (access(dir, W_OK | X_OK) != 0) {
        *ret_detail = arena_printf(doctor->arena,
                                   "this user may not write to RUNTIME_DIR %s; the user that the "
                                   "programs run as must",
                                   dir);
        return LEVEL_WARN;
    }
    *ret_detail = dir;
    return LEVEL_OK;
}

/* ---- the server ---------------------------------------------------------------------------------
 */

static enum level check_database(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_SERVER_FACTS, &rows)) {
        enum level level = doctor_failed(doctor, ret_detail);

        if (strstr(doctor->failure.detail, "query_wait_timeout")) {
            *ret_detail =
                arena_printf(doctor->arena,
                             "%s; who holds them is seen on the pooler's console (SHOW "
                             "SERVERS, SHOW CLIENTS) and in pg_stat_activity: end what is "
                             "idle in transaction, or raise pool_size",
                             *ret_detail);
            return level;
        }
        *ret_detail = arena_printf(doctor->arena,
                                   "%s; start PostgreSQL and the pooler in front of it, or correct "
                                   "DATABASE_URL or the PG* variables",
                                   *ret_detail);
        return level;
    }
    int64_t version = db_int(rows, 0, 0);
    *ret_detail = arena_printf(doctor->arena, "PostgreSQL %d.%d, database %s, role %s",
                               (int)(version / 10000), (int)(version % 10000),
                               db_text(rows, 0, 5).data, db_text(rows, 0, 3).data);
    if (version < SERVER_MIN) {
        *ret_detail = arena_printf(doctor->arena, "%s: at least PostgreSQL %d is needed",
                                   *ret_detail, SERVER_MIN / 10000);
        return LEVEL_FAIL;
    }
    if (db_bool(rows, 0, 1) || db_bool(rows, 0, 2)) {
        *ret_detail =
            arena_printf(doctor->arena, "%s: %s", *ret_detail,
                         db_bool(rows, 0, 1) ? "this is a standby; connect to the primary"
                                             : "default_transaction_read_only is on; turn it off");
        return LEVEL_FAIL;
    }
    if (!text_is(db_text(rows, 0, 6), "UTF8")) {
        *ret_detail = arena_printf(doctor->arena, "the database's encoding is %s; it must be UTF8",
                                   db_text(rows, 0, 6).data);
        return LEVEL_FAIL;
    }
    return LEVEL_OK;
}

static enum level check_direct(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!*doctor->ctl->options.direct_database_url) {
        *ret_detail = "DIRECT_DATABASE_URL is not set; gatewayctl migrate needs it where "
                      "DATABASE_URL is a role without DDL rights";
        return LEVEL_OK;
    }
    if (!doctor_rows(doctor, doctor->direct, STATEMENT_SERVER_FACTS, &rows))
        return doctor_failed(doctor, ret_detail);
    *ret_detail = arena_printf(doctor->arena, "database %s, role %s", db_text(rows, 0, 5).data,
                               db_text(rows, 0, 3).data);
    return LEVEL_OK;
}

static bool backend_pid(struct doctor *doctor, struct db *db, int64_t *ret_pid)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, db, STATEMENT_DOCTOR_SERVER, &rows))
        return false;
    *ret_pid = db_int(rows, 0, 5);
    return true;
}

/* A transaction whose statements go out one by one, as ours never do: a pooler in statement mode,
 * which would take a script of a migration or of psql apart, refuses it. */
static bool keeps_transactions(struct doctor *doctor, struct db *db)
{
    struct db_rows *rows;

    return doctor_rows(doctor, db, STATEMENT_BEGIN, &rows) &&
           doctor_rows(doctor, db, STATEMENT_PING, &rows) &&
           doctor_rows(doctor, db, STATEMENT_ROLLBACK, &rows);
}

/* Two open connections that are served by one backend in turn share it between transactions. */
static enum level check_pooler(struct doctor *doctor, const char **ret_detail)
{
    struct db *second = db_new(DB_POOLED);
    int64_t mine = 0, its = 0;
    bool shared = false, reached = true;

    if (!keeps_transactions(doctor, second)) {
        db_free(second);
        *ret_detail =
            arena_printf(doctor->arena,
                         "a transaction does not go through: %s; the pooler is in statement "
                         "mode, or worse: set pool_mode = transaction",
                         doctor->failure.detail);
        return LEVEL_FAIL;
    }
    for (int i = 0; i < POOLER_TRIES && reached && !shared; i++) {
        reached = backend_pid(doctor, doctor->ctl->db, &mine) && backend_pid(doctor, second, &its);
        shared = reached && mine == its;
    }
    /* a pooler announces a process id of its own */
    bool pooled = reached && db_announced_pid(second) != its;
    db_free(second);
    if (!reached)
        return doctor_failed(doctor, ret_detail);
    if (shared) {
        *ret_detail = "transaction mode";
        return LEVEL_OK;
    }
    *ret_detail =
        pooled
            ? "session mode: each connection keeps a server of its own for as long as it is open; "
              "set pool_mode = transaction"
            : "none: each connection is a server process, so max_connections bounds the number of "
              "WebSockets that are at work; put PgBouncer in front (deploy/pgbouncer.ini.in)";
    return LEVEL_WARN;
}

static enum level check_durability(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_SERVER, &rows))
        return doctor_failed(doctor, ret_detail);
    if (!db_bool(rows, 0, 0) || !db_bool(rows, 0, 1)) {
        *ret_detail = "fsync or full_page_writes is off: a power cut destroys the database; turn "
                      "both on";
        return LEVEL_FAIL;
    }
    if (text_is(db_text(rows, 0, 2), "off")) {
        *ret_detail =
            "synchronous_commit is off: what was answered as accepted can be lost; set it "
            "to on for this role";
        return LEVEL_FAIL;
    }
    *ret_detail =
        arena_printf(doctor->arena, "fsync on, synchronous_commit %s", db_text(rows, 0, 2).data);
    return LEVEL_OK;
}

static enum level check_clock(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;
    int64_t before = clock_wall_ms();

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_SERVER_FACTS, &rows))
        return doctor_failed(doctor, ret_detail);
    int64_t off = db_int(rows, 0, 7) - (before + clock_wall_ms()) / 2;
    *ret_detail = arena_printf(doctor->arena, "the database's clock is %lld ms %s this machine's",
                               (long long)llabs(off), off < 0 ? "behind" : "ahead of");
    if (llabs(off) < CLOCK_WARN_MS)
        return LEVEL_OK;
    *ret_detail = arena_printf(
        doctor->arena, "%s: nothing is decided by it, but logs do not fit together; run NTP",
        *ret_detail);
    return LEVEL_WARN;
}

static enum level check_connections(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_SERVER, &rows))
        return doctor_failed(doctor, ret_detail);
    int64_t used = db_int(rows, 0, 3), most = db_int(rows, 0, 4);
    *ret_detail =
        arena_printf(doctor->arena, "%lld of %lld in use", (long long)used, (long long)most);
    if (used * 10 < most * 9)
        return LEVEL_OK;
    *ret_detail = arena_printf(
        doctor->arena, "%s: raise max_connections or lower the pooler's pool sizes", *ret_detail);
    return LEVEL_WARN;
}

/* ---- the schema ---------------------------------------------------------------------------------
 */

static enum level check_schema(struct doctor *doctor, const char **ret_detail)
{
    struct db_call call;
    struct db_rows *rows;

    schema_check_call(&call, doctor->arena);
    if (db_run(doctor->ctl->db, &call, &doctor->failure, &rows) != OK ||
        schema_check_result(rows, &doctor->failure) != OK ||
        !doctor_rows(doctor, doctor->ctl->db, STATEMENT_DBOS_VERSION, &rows))
        return doctor_failed(doctor, ret_detail);
    int64_t version = db_int_or(rows, 0, 0, 0);
    *ret_detail = arena_printf(doctor->arena, "DBOS version %lld, functions %.12s",
                               (long long)version, schema_digest());
    if (version == DBOS_VERSION)
        return LEVEL_OK;
    *ret_detail =
        arena_printf(doctor->arena,
                     version < DBOS_VERSION ? "%s: run gatewayctl migrate"
                                            : "%s: newer than what this program was built for",
                     *ret_detail);
    return version < DBOS_VERSION ? LEVEL_FAIL : LEVEL_WARN;
}

static enum level check_role(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_DOCTOR_ROLE, &rows))
        return doctor_failed(doctor, ret_detail);
    const char *role = db_text(rows, 0, 0).data;
    if (db_bool(rows, 0, 1) || db_bool(rows, 0, 2)) {
        *ret_detail =
            arena_printf(doctor->arena,
                         "the role %s is a superuser or bypasses row security: a fault in "
                         "a program could do anything; use one of deploy/sql/roles.sql",
                         role);
        return LEVEL_FAIL;
    }
    if (!db_is_null(rows, 0, 4)) {
        *ret_detail = arena_printf(
            doctor->arena, "the role %s may not use %s; run gatewayctl migrate --app-role %s", role,
            db_text(rows, 0, 4).data, role);
        return LEVEL_FAIL;
    }
    if (db_bool(rows, 0, 3)) {
        *ret_detail = arena_printf(doctor->arena,
                                   "the role %s may change the schema; the programs need no such "
                                   "right (deploy/sql/roles.sql)",
                                   role);
        return LEVEL_WARN;
    }
    if (db_bool(rows, 0, 5)) {
        *ret_detail = arena_printf(doctor->arena,
                                   "the role %s may make roles, databases or replicas; alter role "
                                   "%s nocreaterole nocreatedb noreplication",
                                   role, role);
        return LEVEL_WARN;
    }
    *ret_detail =
        arena_printf(doctor->arena, "%s may use all and change nothing of the schema", role);
    return LEVEL_OK;
}

struct broken {
    struct arena *arena;
    const char *list;
    unsigned count;
};

static void note_statement(void *context, const char *statement, const struct failure *failure)
{
    struct broken *broken = context;

    (void)failure;
    if (broken->count++ < 3)
        broken->list = arena_printf(broken->arena, "%s %s", broken->list, statement);
}

static enum level check_statements(struct doctor *doctor, const char **ret_detail)
{
    struct broken broken = {.arena = doctor->arena, .list = ""};

    enum error error = db_prepare_all(doctor->ctl->db, note_statement, &broken, &doctor->failure);

    if (error == ERR_UNAVAILABLE || error == ERR_IN_DOUBT)
        return doctor_failed(doctor, ret_detail); /* it went away in between */
    if (error == OK) {
        *ret_detail = arena_printf(doctor->arena, "all %d fit", (int)STATEMENT__MAX);
        return LEVEL_OK;
    }
    bool misfit = error_retry(doctor->failure.error) == RETRY_NEVER;
    *ret_detail = arena_printf(doctor->arena, "%u %s:%s%s (%s)%s", broken.count,
                               misfit ? "do not fit" : "could not be looked at", broken.list,
                               broken.count > 3 ? " …" : "", doctor->failure.detail,
                               misfit ? "; run gatewayctl migrate" : "; see locks");
    return LEVEL_FAIL;
}

/* How many sweepers live, as /health judges it: heard of within EXECUTOR_LEASE_MS, or run by cron a
 * moment ago. */
static int sweepers_living(struct doctor *doctor, struct db_rows *rows)
{
    int living = 0;

    for (size_t row = 0; row < db_rows_count(rows); row++)
        living +=
            db_bool(rows, row, 4) || db_int(rows, row, 3) <= doctor->ctl->options.executor_lease_ms;
    return living;
}

/* Whether a living sweeper of this host's name sees other processes than this program does. */
static bool sweeps_elsewhere(struct doctor *doctor, struct db_rows *rows)
{
    struct executor self;
    char machine[EXECUTOR_MACHINE_SIZE];

    executor_init(&self, EXECUTOR_CTL, &doctor->ctl->options);
    executor_machine(machine);
    for (size_t row = 0; row < db_rows_count(rows) && machine[0] != '\0'; row++)
        if (text_is(db_text(rows, row, 0), self.host) && !db_bool(rows, row, 4) &&
            db_int(rows, row, 3) <= doctor->ctl->options.executor_lease_ms &&
            !db_is_null(rows, row, 5) && !text_is(db_text(rows, row, 5), machine))
            return true;
    return false;
}

static enum level check_sweeper(struct doctor *doctor, const char **ret_detail)
{
    struct db_rows *listed, *rows;

    if (!doctor_rows(doctor, doctor->ctl->db, STATEMENT_SWEEPER_LIST, &listed) ||
        !doctor_rows(doctor, doctor->ctl->db, STATEMENT_SWEEPER_SEEN, &rows))
        return doctor_failed(doctor, ret_detail);
    int64_t ago = db_int_or(rows, 0, 0, -1);
    const char *seen =
        ago < 0 ? "never" : arena_printf(doctor->arena, "%lld s ago", (long long)(ago / 1000));
    int living = sweepers_living(doctor, listed);
    if (sweeps_elsewhere(doctor, listed)) {
        *ret_detail = arena_printf(
            doctor->arena,
            "that of HOST_NAME %s runs on another machine, or in another container, and none runs "
            "here: what dies here is found late; give each machine its own HOST_NAME",
            doctor->ctl->options.host_name);
        return LEVEL_WARN;
    }
    if (living == 0 && ago >= 0 && ago < doctor->ctl->options.executor_lease_ms) {
        *ret_detail = arena_printf(
            doctor->arena,
            "last seen: %s, and counted as dead; start openclaw-gateway-sweeper; where it runs, "
            "another machine has the HOST_NAME %s too, and each takes the other's programs for "
            "dead: give each its own",
            seen, doctor->ctl->options.host_name);
        return LEVEL_FAIL;
    }
    if (living == 0) {
        *ret_detail = arena_printf(doctor->arena,
                                   "last seen: %s; nothing is recovered or redelivered; start "
                                   "openclaw-gateway-sweeper, or --once from cron",
                                   seen);
        return LEVEL_FAIL;
    }
    *ret_detail =
        arena_printf(doctor->arena, "%d running or run by cron, last seen %s", living, seen);
    return LEVEL_OK;
}

/* ---- all
 * ----------------------------------------------------------------------------------------- */

static const struct check checks[] = {
    {"configuration", false, check_configuration},
    {"runtime directory", false, check_runtime_dir},
    {"database", false, check_database},
    {"direct connection", false, check_direct},
    {"pooler", true, check_pooler},
    {"durability", true, check_durability},
    {"disk", true, doctor_disk},
    {"clock", true, check_clock},
    {"transactions", true, doctor_transactions},
    {"locks", true, doctor_locks},
    {"autovacuum", true, doctor_vacuum},
    {"connections", true, check_connections},
    {"schema", true, check_schema},
    {"role", true, check_role},
    {"statements", true, check_statements},
    {"indexes", true, doctor_indexes},
    {"sweeper", true, check_sweeper},
    {"websocketd", false, doctor_websocketd},
    {"relay", false, doctor_relay},
    {"schedules", true, doctor_schedules},
};

static void add_check(struct doctor *doctor, const char *name, enum level level, const char *detail)
{
    struct document *line = document_object(doctor->arena);

    document_put_string(line, "level", level_names[level]);
    document_put_string(line, "check", name);
    document_append(doctor->checks, document_put_string(line, "detail", detail));
}

static void print(const struct doctor *doctor)
{
    static const struct column columns[] = {{"level", ""}, {"check", ""}, {"detail", ""}};

    if (doctor->ctl->json) {
        struct document *answer = document_object(doctor->arena);
        document_put(answer, "checks", doctor->checks);
        ctl_print_object(doctor->ctl, document_put_bool(answer, "ok", doctor->worst == OK));
    } else {
        ctl_print_rows(doctor->ctl, "checks", doctor->checks, columns, 3);
    }
}

enum error ctl_doctor(struct ctl *ctl, struct failure *failure)
{
    struct doctor doctor = {.ctl = ctl, .arena = ctl->arena};
    bool reachable = true;
    unsigned fails = 0;

    doctor.checks = document_array(ctl->arena);
    doctor.direct = db_new(DB_DIRECT);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        const char *detail = "";
        if (checks[i].needs_database && !reachable) {
            add_check(&doctor, checks[i].name, LEVEL_SKIP, "the database could not be reached");
            continue;
        }
        doctor.failure = (struct failure){.error = OK};
        enum level level = checks[i].run(&doctor, &detail);
        add_check(&doctor, checks[i].name, level, detail);
        if (level != LEVEL_FAIL)
            continue;
        fails++;
        if (checks[i].run == check_database && !db_is_open(ctl->db))
            reachable = false;
        if (doctor.worst == OK)
            doctor.worst = doctor.failure.error != OK ? doctor.failure.error : ERR_CONFIG;
    }
    db_free(doctor.direct);
    print(&doctor);
    if (doctor.worst != OK)
        return failure_set(failure, doctor.worst, "%u of the checks failed; each says what to do",
                           fails);
    return OK;
}
