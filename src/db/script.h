/* SPDX-License-Identifier: MIT
 *
 * The files of sql/migration and sql/function, compiled in at build time, in the order of their
 * names. Each list ends with a NULL name.
 */
#ifndef OPENCLAW_DB_SCRIPT_H
#define OPENCLAW_DB_SCRIPT_H

struct sql_script {
    const char *name; /* the file's name without folder and ending */
    const char *text;
};

extern const struct sql_script sql_migrations[];
extern const struct sql_script sql_functions[];

/* sql/migration/dbos: the name begins with the version (101 to 123) that the script makes of the
 * one before, and records in dbos_migrations. */
extern const struct sql_script sql_dbos_upgrades[];

#endif
