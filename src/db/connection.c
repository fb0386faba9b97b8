/* SPDX-License-Identifier: MIT
 *
 * Opening and closing one connection, as a transaction pooler allows it: no `options`, no session
 * settings, only startup parameters that PgBouncer tracks by itself (application_name,
 * client_encoding).
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/internal.h"

#define CONNINFO_MAX 64 /* libpq 15 has 40 keywords */
#define PROGRAM_NAME "openclaw-gateway"

/* Weaker than what the URL says. */
static const char *const weak_defaults[][2] = {
    {"fallback_application_name", PROGRAM_NAME},
    {"keepalives", "1"},
    {"keepalives_idle", "30"},
    {"keepalives_interval", "10"},
    {"keepalives_count", "3"},
};

struct conninfo {
    const char *keywords[CONNINFO_MAX + 1];
    const char *values[CONNINFO_MAX + 1];
    size_t count;
};

static void set(struct conninfo *info, const char *keyword, const char *value)
{
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keywords[i], keyword) == 0) {
            info->values[i] = value;
            return;
        }
    if (info->count == CONNINFO_MAX)
        abort();
    info->keywords[info->count] = keyword;
    info->values[info->count++] = value;
    info->keywords[info->count] = NULL;
    info->values[info->count] = NULL;
}

static const char *route_url(enum db_route route)
{
    const struct db_settings *settings = db_settings();
    return route == DB_DIRECT && settings->direct_url ? settings->direct_url : settings->url;
}

static const char *route_option(enum db_route route)
{
    return route == DB_DIRECT && db_settings()->direct_url ? "DIRECT_DATABASE_URL" : "DATABASE_URL";
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* connect_timeout (seconds) of the URL or the environment; libpq heeds it only when it blocks. */
static int64_t connect_deadline(PGconn *conn)
{
    int64_t deadline = INT64_MAX;
    int64_t seconds = 0;
    PQconninfoOption *options = PQconninfo(conn);
    for (PQconninfoOption *option = options; option && option->keyword; option++)
        if (strcmp(option->keyword, "connect_timeout") == 0 && option->val &&
            text_int64(text_of(option->val), 1, INT32_MAX, &seconds) == OK)
            deadline = clock_ms() + seconds * 1000;
    PQconninfoFree(options);
    return deadline;
}

/* The URL is parsed here and not by PQconnectStartParams: what that cannot parse it takes for a
 * database's name, and shows, with the password in it, in its message. */
enum error connection_start(struct db *db, struct failure *failure)
{
    struct conninfo info = {.count = 0};
    if (PQlibVersion() == 0) /* libpq_late.c; a linked libpq has a version */
        return outcome_of_loss(failure, "connect", NULL, NULL, false);
    for (size_t i = 0; i < sizeof weak_defaults / sizeof weak_defaults[0]; i++)
        set(&info, weak_defaults[i][0], weak_defaults[i][1]);

    PQconninfoOption *given = NULL;
    if (route_url(db->route)) {
        given = PQconninfoParse(route_url(db->route), NULL);
        if (!given)
            return failure_set(failure, ERR_CONFIG,
                               "%s is neither a postgresql:// URL nor libpq's keyword=value form",
                               route_option(db->route));
    }
    for (PQconninfoOption *option = given; option && option->keyword; option++)
        if (option->val)
            set(&info, option->keyword, option->val);
    set(&info, "client_encoding", "UTF8");

    db->conn = PQconnectStartParams(info.keywords, info.values, 0);
    PQconninfoFree(given);
    if (!db->conn)
        abort();
    PQsetNoticeReceiver(db->conn, ignore_notice, NULL);
    if (PQstatus(db->conn) == CONNECTION_BAD) {
        enum error error = outcome_of_loss(failure, "connect", db->conn, NULL, false);
        db_close(db);
        return error;
    }
    db->connect_deadline = connect_deadline(db->conn);
    db->poll_events = POLLOUT; /* as the manual asks before the first PQconnectPoll */
    return OK;
}

/* A connection that says something while nobody asked it is dying (a FATAL message, end of file)
 * or not worth the doubt. */
bool connection_is_stale(struct db *db)
{
    if (PQstatus(db->conn) != CONNECTION_OK)
        return true;
    struct pollfd fd = {.fd = PQsocket(db->conn), .events = POLLIN};
    return poll(&fd, 1, 0) != 0;
}

void connection_drop(struct db *db)
{
    (void)!cancel_end(db->cancel);
    db->cancel = NULL;
    PQfinish(db->conn);
    db->conn = NULL;
    db->ready = false;
}

struct db *db_new(enum db_route route)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        abort();
    db->route = route;
    if (route == DB_RELAYED)
        db->relay = relay_link_new();
    return db;
}

void db_on_wait(struct db *db, int64_t every_ms, void (*still_waiting)(void))
{
    db->wait_slice_ms = every_ms;
    db->still_waiting = still_waiting;
}

void db_close(struct db *db)
{
    if (db->relay)
        relay_link_close(db->relay);
    exchange_end(db);
    connection_drop(db);
}

void db_free(struct db *db)
{
    if (!db)
        return;
    db_close(db);
    relay_link_free(db->relay);
    free(db);
}

bool db_is_open(const struct db *db)
{
    return (db->conn && db->ready) || (db->relay && relay_link_is_open(db->relay));
}

int64_t db_announced_pid(const struct db *db)
{
    return db->conn && db->ready ? PQbackendPID(db->conn) : 0;
}
