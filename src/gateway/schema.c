/* SPDX-License-Identifier: MIT */
#include "gateway/schema.h"

#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "db/script.h"

static char digest[2 * SHA256_DIGEST_SIZE + 1];
static pthread_once_t digest_once = PTHREAD_ONCE_INIT;

/* The NUL bytes go in too, so that no two lists look alike. */
static void add_scripts(struct sha256_ctx *context, const struct sql_script *scripts)
{
    for (; scripts->name; scripts++) {
        sha256_update(context, strlen(scripts->name) + 1, (const uint8_t *)scripts->name);
        sha256_update(context, strlen(scripts->text) + 1, (const uint8_t *)scripts->text);
    }
}

static void compute_digest(void)
{
    struct sha256_ctx context;
    uint8_t bytes[SHA256_DIGEST_SIZE];

    sha256_init(&context);
    add_scripts(&context, sql_migrations);
    add_scripts(&context, sql_functions);
    sha256_digest(&context, sizeof(bytes), bytes);
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(digest + 2 * i, 3, "%02x", bytes[i]);
}

const char *schema_digest(void)
{
    pthread_once(&digest_once, compute_digest);
    return digest;
}

void schema_check_call(struct db_call *call, struct arena *arena)
{
    db_call_init(call, arena, STATEMENT_SETTING_GET);
    db_add_string(call, SCHEMA_DIGEST_SETTING);
}

void schema_probe_call(struct db_call *call, struct arena *arena)
{
    db_call_init(call, arena, STATEMENT_PROBE);
    db_add_string(call, SCHEMA_DIGEST_SETTING);
}

enum error schema_probe_result(struct db_rows *rows, struct failure *failure)
{
    enum error error = schema_check_result(rows, failure);
    int64_t dbos_version = error == OK ? db_int_or(rows, 0, 2, 0) : 0;

    if (error == OK && dbos_version < DBOS_VERSION)
        return failure_set(failure, ERR_SCHEMA,
                           "the DBOS schema is of version %lld, this program needs %d; run "
                           "gatewayctl migrate",
                           (long long)dbos_version, DBOS_VERSION);
    if (error == OK && db_bool(rows, 0, 1))
        return failure_set(failure, ERR_READ_ONLY,
                           "the database is a standby, or default_transaction_read_only is on");
    return error;
}

enum error schema_check_result(struct db_rows *rows, struct failure *failure)
{
    struct text found = db_rows_count(rows) > 0 ? db_text(rows, 0, 0) : TEXT_NONE;

    if (text_is(found, schema_digest()))
        return OK;
    if (!found.data)
        return failure_set(
            failure, ERR_SCHEMA,
            "the migration of the database was never finished; run gatewayctl migrate");
    return failure_set(failure, ERR_SCHEMA,
                       "the database has functions %.12s, this program was built for %.12s; run "
                       "gatewayctl migrate of the newest version and restart the older programs",
                       found.data, schema_digest());
}
