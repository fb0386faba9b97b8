/* SPDX-License-Identifier: MIT
 *
 * What migrations and the doctor need: whole scripts, and the proof that every statement fits
 * the schema.
 */
#include <stdlib.h>
#include <string.h>

#include "db/internal.h"

static enum error finish(struct db *db, struct failure *failure)
{
    enum error error = OK;
    if (db->exchange.failed) {
        error = db->exchange.failure.error;
        if (failure)
            *failure = db->exchange.failure;
    }
    exchange_end(db);
    return error;
}

enum error db_run_script(struct db *db, const char *script, struct failure *failure)
{
    char *text = settings_replace_schema(script, db_settings()->schema);
    exchange_init(db, false);
    struct item *item = exchange_add(db, ITEM_SCRIPT);
    item->name = "script";
    item->text = text;
    exchange_start(db, DB_SCRIPT_TIMEOUT_MS);
    exchange_run(db);
    free(text);
    return finish(db, failure);
}

/* What the server understood against what the file declares. */
static enum error check_description(const struct statement_info *info, const PGresult *description,
                                    struct failure *failure)
{
    int count = PQnparams(description);
    if (count != (int)info->param_count)
        return failure_set(failure, ERR_SCHEMA, "%s: takes %d parameters, declares %u", info->name,
                           count, info->param_count);
    for (int i = 0; i < count; i++)
        if (PQparamtype(description, i) != info->param_types[i])
            return failure_set(failure, ERR_SCHEMA,
                               "%s: $%d is of the type with OID %u, declared is %u", info->name,
                               i + 1, PQparamtype(description, i), info->param_types[i]);
    if (info->rows == ROWS_NONE && PQnfields(description) > 0)
        return failure_set(failure, ERR_SCHEMA, "%s: declares no rows, but returns %d columns",
                           info->name, PQnfields(description));
    return OK;
}

/* One pipeline, so that a transaction pooler keeps parse and describe on one server. */
static enum error prepare(struct db *db, enum statement statement, struct failure *failure)
{
    const struct statement_info *info = &statement_infos[statement];
    exchange_init(db, true);
    struct item *item = exchange_add(db, ITEM_PREPARE);
    item->name = info->name;
    item->text = settings_statement(statement);
    item->info = info;
    struct item *described = exchange_add(db, ITEM_DESCRIBE);
    described->name = info->name;
    (void)exchange_add(db, ITEM_SYNC);
    exchange_start(db, db_settings()->timeout_ms);
    exchange_run(db);
    if (!db->exchange.failed) {
        enum error error = check_description(info, described->result, failure);
        exchange_end(db);
        return error;
    }
    return finish(db, failure);
}

enum error db_prepare_all(struct db *db,
                          void (*report)(void *context, const char *statement,
                                         const struct failure *failure),
                          void *context, struct failure *failure)
{
    enum error first = OK;
    for (unsigned i = 0; i < STATEMENT__MAX; i++) {
        struct failure mine = {.error = OK};
        enum error error = prepare(db, (enum statement)i, &mine);
        if (error == OK)
            continue;
        if (report)
            report(context, statement_infos[i].name, &mine);
        if (first == OK) {
            first = error;
            if (failure)
                *failure = mine;
        }
        if (!db_is_open(db))
            break; /* the others would only say the same */
    }
    return first;
}
