/* SPDX-License-Identifier: MIT
 *
 * Does every statement of the release fit the migrated schema? One TAP line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"

static struct failure failures[STATEMENT__MAX];

static void note(void *context, const char *statement, const struct failure *failure)
{
    (void)context;
    for (unsigned i = 0; i < STATEMENT__MAX; i++)
        if (strcmp(statement_infos[i].name, statement) == 0)
            failures[i] = *failure;
}

int main(void)
{
    struct options options = {
        .database_url = getenv("DATABASE_URL"),
        .dbos_schema = "dbos_system",
        .db_timeout_ms = 10000,
    };
    db_configure(&options);
    struct db *db = db_new(DB_POOLED);
    struct failure failure = {.error = OK};
    enum error error = db_prepare_all(db, note, NULL, &failure);
    bool reached = db_is_open(db);
    db_free(db);

    printf("1..%d\n", STATEMENT__MAX + 1);
    for (int i = 0; i < STATEMENT__MAX; i++) {
        printf("%sok %d - %s\n", failures[i].error == OK ? "" : "not ", i + 1,
               statement_infos[i].name);
        if (failures[i].error != OK)
            printf("# %s %s\n", failures[i].sqlstate, failures[i].detail);
    }
    printf("%sok %d - the server was asked about all of them\n", reached ? "" : "not ",
           STATEMENT__MAX + 1);
    if (error != OK)
        printf("# %s\n", failure.detail);
    return error == OK && reached ? 0 : 1;
}
