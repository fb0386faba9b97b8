/* SPDX-License-Identifier: MIT
 *
 * Several calls that take effect together or not at all, in one flight where that is safe
 * (exchange.c says when).
 */
#include "db/internal.h"

struct db_tx {
    struct db *db;
    unsigned count;
    const struct db_call *calls[DB_TX_CALLS_MAX];
    struct db_rows **ret_rows[DB_TX_CALLS_MAX];
    struct failure failure; /* the first misuse; error OK: none */
};

struct db_tx *db_tx_begin(struct db *db, struct arena *arena)
{
    struct db_tx *tx = arena_alloc(arena, sizeof *tx);
    tx->db = db;
    return tx;
}

void db_tx_call(struct db_tx *tx, const struct db_call *call, struct db_rows **ret_rows)
{
    if (tx->failure.error != OK)
        return;
    if (tx->count == DB_TX_CALLS_MAX) {
        failure_set(&tx->failure, ERR_INTERNAL, "more than %d calls in one transaction",
                    DB_TX_CALLS_MAX);
        return;
    }
    if (call_check(call, &tx->failure) != OK)
        return;
    tx->calls[tx->count] = call;
    tx->ret_rows[tx->count++] = ret_rows;
}

static bool rows_can_be_wrong(const struct db_tx *tx)
{
    for (unsigned i = 0; i < tx->count; i++) {
        enum statement_rows rows = statement_infos[tx->calls[i]->statement].rows;
        if (rows == ROWS_ONE || rows == ROWS_OPTIONAL)
            return true;
    }
    return false;
}

static void build(struct db_tx *tx)
{
    struct exchange *exchange = &tx->db->exchange;
    exchange_init(tx->db, true);
    exchange->transaction = true;
    exchange_add_control(tx->db, STATEMENT_BEGIN);
    for (unsigned i = 0; i < tx->count; i++)
        exchange_add_call(tx->db, tx->calls[i]);
    bool held = rows_can_be_wrong(tx);
    if (held) {
        (void)exchange_add(tx->db, ITEM_FLUSH);
        exchange->hold_at = exchange->count;
    }
    exchange->commit_at = exchange->count;
    exchange_add_control(tx->db, STATEMENT_COMMIT);
    (void)exchange_add(tx->db, ITEM_SYNC);
    if (!held)
        exchange->hold_at = exchange->count;
}

enum error db_tx_commit(struct db_tx *tx, struct failure *failure)
{
    if (tx->failure.error != OK) {
        if (failure)
            *failure = tx->failure;
        return tx->failure.error;
    }
    if (tx->count == 0)
        return OK;

    build(tx);
    exchange_start(tx->db, db_settings()->timeout_ms);
    exchange_run(tx->db);

    struct exchange *exchange = &tx->db->exchange;
    enum error error = OK;
    if (exchange->failed) {
        error = exchange->failure.error;
        if (failure)
            *failure = exchange->failure;
    } else {
        for (unsigned i = 0; i < tx->count; i++)
            if (tx->ret_rows[i]) /* item 0 is the begin */
                *tx->ret_rows[i] = rows_take(tx->calls[i]->arena, &exchange->items[i + 1]);
    }
    exchange_end(tx->db);
    tx->count = 0; /* a second commit does nothing */
    return error;
}
