/* SPDX-License-Identifier: MIT
 *
 * One exchange with the server, from connecting to the last answer, without ever blocking.
 *
 * Invariants, on which the promise "accepted means committed" rests:
 *
 * - An item is answered only when libpq has nothing more for it (PQgetResult gave NULL, or the
 *   pipeline's sync came). A statement of its own commits after its CommandComplete and before
 *   ReadyForQuery, so a first good answer proves nothing: an error or a broken connection behind
 *   it is the outcome.
 * - Once anything was given to the socket, a connection that breaks leaves the outcome unknown,
 *   except where the answer that decides it had come already: an error (nothing was done), or
 *   that of a COMMIT (it is sent after the fact).
 * - A transaction with a statement that may return a wrong number of rows holds its commit back
 *   until the answers were looked at. All others send it along.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "db/internal.h"

#define STATE_CANCELED "57014"

/* ---- building --------------------------------------------------------------------------- */

void exchange_init(struct db *db, bool pipelined)
{
    if (db->phase != PHASE_IDLE)
        abort(); /* one exchange at a time; a caller forgot to fetch an outcome */
    db->exchange = (struct exchange){.pipelined = pipelined};
}

struct item *exchange_add(struct db *db, enum item_kind kind)
{
    struct exchange *exchange = &db->exchange;
    if (exchange->count == EXCHANGE_ITEMS_MAX)
        abort();
    struct item *item = &exchange->items[exchange->count++];
    *item = (struct item){.kind = kind, .name = "sync"};
    return item;
}

static void add_statement(struct db *db, enum statement statement, const char *const *values)
{
    struct item *item = exchange_add(db, ITEM_STATEMENT);
    item->info = &statement_infos[statement];
    item->name = item->info->name;
    item->text = settings_statement(statement);
    item->values = values;
}

void exchange_add_call(struct db *db, const struct db_call *call)
{
    add_statement(db, call->statement, call->values);
}

void exchange_add_control(struct db *db, enum statement statement)
{
    add_statement(db, statement, NULL);
}

/* ---- failing ---------------------------------------------------------------------------- */

static void fail(struct exchange *exchange, const struct failure *failure)
{
    if (!exchange->failed)
        exchange->failure = *failure;
    exchange->failed = true;
}

static bool done(struct db *db)
{
    db->phase = PHASE_DONE;
    db->poll_events = 0;
    return true;
}

static struct item *current(struct exchange *exchange)
{
    return &exchange
                ->items[exchange->read < exchange->count ? exchange->read : exchange->count - 1];
}

static bool is_commit(const struct exchange *exchange, const struct item *item)
{
    return exchange->transaction && item == &exchange->items[exchange->commit_at];
}

/* The answer of COMMIT says "COMMIT" only after the fact. */
static bool is_committed(const struct exchange *exchange)
{
    if (!exchange->transaction)
        return false;
    PGresult *result = exchange->items[exchange->commit_at].result;
    return result && PQresultStatus(result) == PGRES_COMMAND_OK &&
           strcmp(PQcmdStatus(result), "COMMIT") == 0;
}

/* Has anything been sent that may have had an effect? A transaction has none before its commit. */
static bool may_have_written(const struct exchange *exchange)
{
    if (exchange->transaction && exchange->sent <= exchange->commit_at)
        return false;
    for (unsigned i = 0; i < exchange->sent; i++) {
        const struct item *item = &exchange->items[i];
        if (item->kind == ITEM_SCRIPT || (item->kind == ITEM_STATEMENT && !item->info->reads_only))
            return true;
    }
    return false;
}

static bool lost(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    exchange->lost = true;
    if (!is_committed(exchange)) {
        struct item *item = current(exchange);
        struct failure failure;
        bool connected = db->phase == PHASE_ANSWER;
        outcome_of_loss(&failure, connected ? item->name : "connect", db->conn, item->result,
                        connected && may_have_written(exchange));
        fail(exchange, &failure);
    }
    connection_drop(db);
    return done(db);
}

/* ---- connecting ------------------------------------------------------------------------- */

static void start_connecting(struct db *db)
{
    struct failure failure;
    db->phase = PHASE_CONNECT;
    if (connection_start(db, &failure) != OK) {
        fail(&db->exchange, &failure);
        (void)done(db);
    }
}

static void continue_connecting(struct db *db)
{
    switch (PQconnectPoll(db->conn)) {
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(db->conn, 1) != 0)
            break;
        db->ready = true;
        db->phase = PHASE_ANSWER;
        return;
    case PGRES_POLLING_READING:
        db->poll_events = POLLIN;
        return;
    case PGRES_POLLING_WRITING:
    case PGRES_POLLING_ACTIVE:
        db->poll_events = POLLOUT;
        return;
    case PGRES_POLLING_FAILED:
        break;
    }
    (void)lost(db);
}

/* ---- sending ---------------------------------------------------------------------------- */

static int send_item(PGconn *conn, const struct item *item)
{
    const struct statement_info *info = item->info;
    switch (item->kind) {
    case ITEM_STATEMENT:
        return PQsendQueryParams(conn, item->text, (int)info->param_count, info->param_types,
                                 item->values, NULL, NULL, 0);
    case ITEM_SCRIPT:
        return PQsendQuery(conn, item->text);
    case ITEM_PREPARE:
        return PQsendPrepare(conn, "", item->text, (int)info->param_count, info->param_types);
    case ITEM_DESCRIBE:
        return PQsendDescribePrepared(conn, "");
    case ITEM_FLUSH:
        return PQsendFlushRequest(conn);
    case ITEM_SYNC:
        return PQpipelineSync(conn);
    }
    return 0;
}

/* Gives libpq the items up to `until`. */
static bool send_items(struct db *db, unsigned until)
{
    struct exchange *exchange = &db->exchange;
    if (exchange->pipelined && PQpipelineStatus(db->conn) == PQ_PIPELINE_OFF &&
        !PQenterPipelineMode(db->conn))
        return false;
    FAULT_POINT("db.send");
    exchange->flushed = false;
    while (exchange->sent < until)
        if (!send_item(db->conn, &exchange->items[exchange->sent++]))
            return false;
    return true;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool is_error(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_PIPELINE_SYNC:
        return false;
    default:
        return true;
    }
}

/* Keeps the answer of an item: its first error, else its last. */
static void keep_result(struct exchange *exchange, struct item *item, PGresult *result)
{
    if (item->result && is_error(item->result)) {
        PQclear(result);
        return;
    }
    if (item->kind == ITEM_STATEMENT && item->result && !is_error(result)) {
        struct failure failure;
        failure_set(&failure, ERR_CARDINALITY, "%s: the server gave two answers", item->name);
        fail(exchange, &failure);
    }
    PQclear(item->result);
    item->result = result;
}

/* An item has all of its answer. */
static void conclude_item(struct exchange *exchange, struct item *item)
{
    struct failure failure;
    item->answered = true;
    exchange->read++;
    if (!item->result) {
        failure_set(&failure, ERR_INTERNAL, "%s: the server gave no answer", item->name);
        fail(exchange, &failure);
    } else if (is_error(item->result)) {
        if (PQresultStatus(item->result) == PGRES_PIPELINE_ABORTED && exchange->failed)
            return;
        outcome_of_result(&failure, item->name, item->result);
        if (exchange->cancelled && strcmp(failure.sqlstate, STATE_CANCELED) == 0)
            snprintf(failure.detail, sizeof failure.detail,
                     "%s: took longer than %lld ms and was cancelled", item->name,
                     (long long)exchange->timeout_ms);
        fail(exchange, &failure);
    } else if (is_commit(exchange, item) && !is_committed(exchange)) {
        failure_set(&failure, ERR_DATABASE, "%s: the server rolled back", item->name);
        fail(exchange, &failure);
    } else if (item->kind == ITEM_STATEMENT &&
               outcome_check_rows(&failure, item->info, item->result) != OK) {
        fail(exchange, &failure);
    }
}

/* Flush requests have no answer. */
static void skip_unanswered(struct exchange *exchange)
{
    while (exchange->read < exchange->sent && exchange->items[exchange->read].kind == ITEM_FLUSH)
        exchange->read++;
}

enum reading { READING_MORE, READING_ALL, READING_LOST };

/* Takes every answer that has arrived. READING_ALL: nothing of what was sent is unanswered. */
static enum reading read_answers(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    for (;;) {
        skip_unanswered(exchange);
        if (exchange->read == exchange->sent)
            return READING_ALL;
        if (PQisBusy(db->conn))
            return READING_MORE;
        struct item *item = &exchange->items[exchange->read];
        PGresult *result = PQgetResult(db->conn);
        if (!result) {
            if (PQstatus(db->conn) != CONNECTION_OK)
                return READING_LOST;
            conclude_item(exchange, item);
            continue;
        }
        ExecStatusType status = PQresultStatus(result);
        bool fatal = PQstatus(db->conn) != CONNECTION_OK || outcome_is_fatal(result);
        keep_result(exchange, item, result);
        if (fatal || status == PGRES_COPY_IN || status == PGRES_COPY_OUT ||
            status == PGRES_COPY_BOTH)
            return READING_LOST;
        if (status == PGRES_PIPELINE_SYNC)
            conclude_item(exchange, item);
    }
}

/* ---- what follows when all that was sent is answered -------------------------------------- */

/* A transaction that failed is still open on the server. */
static void turn_to_rollback(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    bool synced = exchange->items[exchange->sent - 1].kind == ITEM_SYNC;
    exchange->count = exchange->sent;
    exchange->transaction = false;
    if (!synced)
        (void)exchange_add(db, ITEM_SYNC); /* until it the server skips everything */
    exchange_add_control(db, STATEMENT_ROLLBACK);
    (void)exchange_add(db, ITEM_SYNC);
}

static bool send_more(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    if (exchange->failed && exchange->transaction)
        turn_to_rollback(db);
    return send_items(db, exchange->count);
}

static bool finish(struct db *db)
{
    FAULT_POINT("db.answer");
    /* The outcome stands; but a connection that a transaction is open on must not be used again. */
    bool left = !db->exchange.pipelined || PQexitPipelineMode(db->conn);
    if (!left || PQtransactionStatus(db->conn) != PQTRANS_IDLE)
        connection_drop(db);
    return done(db);
}

/* ---- the deadline ----------------------------------------------------------------------- */

/* True: the exchange is over. */
static bool time_is_up(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    struct failure failure;
    if (db->phase == PHASE_CONNECT) {
        failure_set(&failure, ERR_UNAVAILABLE,
                    "no connection within %lld ms; is the database (or its pooler) running and "
                    "reachable?",
                    (long long)exchange->timeout_ms);
        fail(exchange, &failure);
        connection_drop(db);
        return done(db);
    }
    if (!exchange->cancelled && (db->cancel = cancel_start(db->conn)) != NULL) {
        exchange->cancelled = true;
        db->deadline = clock_ms() + DB_CANCEL_MS;
        return false;
    }
    failure_set(&failure, may_have_written(exchange) ? ERR_IN_DOUBT : ERR_UNAVAILABLE,
                "%s: no answer within %lld ms", current(exchange)->name,
                (long long)exchange->timeout_ms);
    if (!is_committed(exchange))
        fail(exchange, &failure);
    exchange->lost = true;
    connection_drop(db);
    return done(db);
}

/* ---- the core --------------------------------------------------------------------------- */

/* Sends and reads; true: the exchange is over. */
static bool advance_answers(struct db *db)
{
    struct exchange *exchange = &db->exchange;
    for (;;) {
        if (exchange->sent == 0 &&
            !send_items(db, exchange->transaction ? exchange->hold_at : exchange->count))
            return lost(db);
        int flushed = PQflush(db->conn);
        if (flushed == 0 && !exchange->flushed) {
            exchange->flushed = true;
            FAULT_POINT("db.sent");
        }
        /* A write that failed is told by reading: the reason may stand there. */
        bool readable = PQconsumeInput(db->conn) != 0;
        switch (read_answers(db)) {
        case READING_LOST:
            return lost(db);
        case READING_MORE:
            if (!readable)
                return lost(db);
            db->poll_events = (short)(flushed == 0 ? POLLIN : POLLIN | POLLOUT);
            return false;
        case READING_ALL:
            break;
        }
        if (exchange->sent == exchange->count && !(exchange->failed && exchange->transaction))
            return finish(db);
        if (!send_more(db))
            return lost(db);
    }
}

int64_t exchange_deadline(const struct db *db)
{
    if (db->phase == PHASE_CONNECT && db->connect_deadline < db->deadline)
        return db->connect_deadline;
    return db->deadline;
}

bool exchange_advance(struct db *db)
{
    if (db->phase == PHASE_DONE)
        return true;
    if (db->phase == PHASE_CONNECT)
        continue_connecting(db);
    if (db->phase == PHASE_ANSWER)
        (void)advance_answers(db);
    if (db->phase == PHASE_DONE)
        return true;
    return clock_ms() >= exchange_deadline(db) && time_is_up(db);
}

void exchange_start(struct db *db, int64_t timeout_ms)
{
    db->exchange.timeout_ms = timeout_ms;
    db->deadline = clock_ms() + timeout_ms;
    bool cancel_is_over = cancel_end(db->cancel); /* else it might stop what is sent now */
    db->cancel = NULL;
    if (db->conn && (!cancel_is_over || connection_is_stale(db)))
        connection_drop(db);
    if (db->conn) {
        db->phase = PHASE_ANSWER;
        return;
    }
    start_connecting(db);
}

void exchange_refuse(struct db *db, const struct failure *failure)
{
    fail(&db->exchange, failure);
    (void)done(db);
}

void exchange_run(struct db *db)
{
    while (!exchange_advance(db)) {
        int64_t left = exchange_deadline(db) - clock_ms();
        int64_t longest = INT32_MAX;
        struct pollfd fd = {.fd = PQsocket(db->conn), .events = db->poll_events};

        if (db->still_waiting) {
            db->still_waiting();
            longest = db->wait_slice_ms;
        }
        if (left > longest)
            left = longest;
        if (poll(&fd, 1, left > 0 ? (int)left : 0) < 0 && errno != EINTR)
            abort(); /* EFAULT, EINVAL, ENOMEM: nothing that waiting would change */
    }
}

void exchange_end(struct db *db)
{
    for (unsigned i = 0; i < db->exchange.count; i++) {
        PQclear(db->exchange.items[i].result);
        db->exchange.items[i].result = NULL;
    }
    db->exchange.count = 0;
    db->phase = PHASE_IDLE;
    db->call = NULL;
}
