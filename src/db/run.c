/* SPDX-License-Identifier: MIT
 *
 * Single calls: waited for (db_run), or advanced by a loop that must not block.
 */
#include "base/clock.h"
#include "db/internal.h"

enum error call_check(const struct db_call *call, struct failure *failure)
{
    const struct statement_info *info = &statement_infos[call->statement];
    if (call->error == ERR_INVALID_ENCODING)
        return failure_set(failure, call->error, "%s: a text with a NUL byte in it", info->name);
    if (call->error != OK)
        return failure_set(failure, call->error, "%s: too many parameters", info->name);
    if (call->count != info->param_count)
        return failure_set(failure, ERR_INTERNAL, "%s: called with %u parameters, takes %u",
                           info->name, call->count, info->param_count);
    return OK;
}

static void call_start(struct db *db, const struct db_call *call, int64_t timeout_ms)
{
    struct failure failure;
    exchange_init(db, false);
    exchange_add_call(db, call);
    db->call = call;
    if (call_check(call, &failure) != OK)
        exchange_refuse(db, &failure);
    else
        exchange_start(db, timeout_ms);
}

/* Takes the outcome of the call that is done. */
static enum error call_finish(struct db *db, struct failure *failure, struct db_rows **ret_rows)
{
    struct exchange *exchange = &db->exchange;
    enum error error = OK;
    if (exchange->failed) {
        error = exchange->failure.error;
        if (failure)
            *failure = exchange->failure;
    } else {
        struct db_rows *rows = rows_take(db->call->arena, &exchange->items[0]);
        if (ret_rows)
            *ret_rows = rows;
    }
    exchange_end(db);
    return error;
}

enum error db_run(struct db *db, const struct db_call *call, struct failure *failure,
                  struct db_rows **ret_rows)
{
    call_start(db, call, db_settings()->timeout_ms);
    exchange_run(db);
    return call_finish(db, failure, ret_rows);
}

void db_start_within(struct db *db, const struct db_call *call, int64_t timeout_ms)
{
    call_start(db, call, timeout_ms);
    (void)exchange_advance(db);
}

void db_start(struct db *db, const struct db_call *call)
{
    struct failure unused;
    db->call = call;
    if (db->relay && call_check(call, &unused) == OK && relay_link_start(db->relay, call))
        return;
    db_start_within(db, call, db_settings()->timeout_ms);
}

static bool is_relayed(const struct db *db)
{
    return db->relay && relay_link_busy(db->relay);
}

bool db_busy(const struct db *db)
{
    return db->phase != PHASE_IDLE || is_relayed(db);
}

int db_poll_fd(const struct db *db)
{
    if (is_relayed(db))
        return relay_link_fd(db->relay);
    return db->phase == PHASE_CONNECT || db->phase == PHASE_ANSWER ? PQsocket(db->conn) : -1;
}

short db_poll_events(const struct db *db)
{
    if (is_relayed(db))
        return relay_link_events(db->relay);
    return db->phase == PHASE_CONNECT || db->phase == PHASE_ANSWER ? db->poll_events : 0;
}

int64_t db_poll_deadline(const struct db *db)
{
    if (is_relayed(db))
        return relay_link_deadline(db->relay);
    switch (db->phase) {
    case PHASE_CONNECT:
    case PHASE_ANSWER:
        return exchange_deadline(db);
    case PHASE_DONE:
        return clock_ms();
    case PHASE_IDLE:
        break;
    }
    return INT64_MAX;
}

bool db_advance(struct db *db, struct failure *failure, enum error *ret_error,
                struct db_rows **ret_rows)
{
    if (is_relayed(db)) {
        switch (relay_link_advance(db->relay, ret_error, failure, ret_rows)) {
        case RELAY_BUSY:
            return false;
        case RELAY_ANSWERED:
            return true;
        case RELAY_UNUSED:
            db_start_within(db, db->call, db_settings()->timeout_ms);
            break;
        }
    }
    if (db->phase == PHASE_IDLE || !exchange_advance(db))
        return false;
    *ret_error = call_finish(db, failure, ret_rows);
    return true;
}
