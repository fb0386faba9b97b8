/* SPDX-License-Identifier: MIT
 *
 * The closed list of statements: sql/statement/NAME.sql, compiled in at build time.
 */
#ifndef OPENCLAW_DB_STATEMENT_H
#define OPENCLAW_DB_STATEMENT_H

#include <stdbool.h>

#include "statement.gen.h" /* enum statement, made from sql/statement by sql/embed.awk */

#define STATEMENT_PARAMS_MAX 40

/* How many rows a statement may return; anything else is ERR_CARDINALITY, in one place. */
enum statement_rows { ROWS_NONE, ROWS_ONE, ROWS_OPTIONAL, ROWS_ANY };

struct statement_info {
    const char *name;
    const char *text; /* names the schema dbos_system, which db_configure() replaces */
    unsigned param_count;
    const unsigned *param_types; /* PostgreSQL type OIDs */
    enum statement_rows rows;
    bool reads_only;           /* it has no effect, so a lost answer leaves nothing in doubt */
    const char *merge_signs;   /* how each parameter of several calls becomes one (sql/README.md);
                                  NULL:   they cannot be made one */
    enum statement merge_into; /* the statement that serves them */
};

extern const struct statement_info statement_infos[STATEMENT__MAX];

#endif
