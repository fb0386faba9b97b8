/* SPDX-License-Identifier: MIT
 *
 * Does the database fit this program?
 */
#ifndef OPENCLAW_GATEWAY_SCHEMA_H
#define OPENCLAW_GATEWAY_SCHEMA_H

#include "db/db.h"

/* The name under which gatewayctl migrate stores the digest (statement setting_get). */
#define SCHEMA_DIGEST_SETTING "functions_digest"

/* SHA-256 of the migrations and functions compiled in, lower-case hexadecimal. Two programs with
 * the same digest can share a database. Any thread; lives until the process ends. */
const char *schema_digest(void) __attribute__((returns_nonnull));

/* Asks the database for the digest of its functions, with setting_get. Result: OK; ERR_SCHEMA with
 * what to do where it is another one, or none. */
void schema_check_call(struct db_call *call, struct arena *arena);
enum error schema_check_result(struct db_rows *rows, struct failure *failure) MUST_CHECK;

/* The version of DBOS' own schema, which is the least that this program needs. */
#define DBOS_VERSION 123

/* The same, and DBOS' own schema, and whether the database takes writes. Errors: SCHEMA, READ_ONLY.
 */
void schema_probe_call(struct db_call *call, struct arena *arena);
enum error schema_probe_result(struct db_rows *rows, struct failure *failure) MUST_CHECK;

#endif
