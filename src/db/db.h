/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL, called by name. Nobody above this folder knows libpq.
 *
 * A call is a statement with its parameters (struct db_call); an answer is rows (struct db_rows).
 * A call can be run and waited for (db_run), be one of several in a transaction (db_tx_*), or be
 * started and polled for by a loop that must not block (db_start, db_advance). Only unnamed
 * extended-protocol statements are used, so a transaction pooler may stand in between.
 *
 * Whether a failed call may be repeated is said by its error:
 *   ERR_UNAVAILABLE, ERR_SERIALIZATION, ERR_READ_ONLY   it had no effect; later it may succeed
 *                   (a call that took too long and was cancelled is UNAVAILABLE, SQLSTATE 57014;
 *                   a full disk is READ_ONLY, DB_STATE_DISK_FULL)
 *   ERR_IN_DOUBT    it may have had its effect; our transitions are callable twice with the same
 *                   effect as once, so the same call again re-reads what became of it
 *   anything else   the same call fails again
 * Private SQLSTATEs of our functions map to errors: OC001 FENCED, OC002 NOT_FOUND, OC003
 * FORBIDDEN, OC004 STALE, OC005 INVALID_REQUEST, OC006 IDEMPOTENCY_CONFLICT, OC007 SCHEMA,
 * OC008 INBOX_FULL, OC009 PRECONDITION_FAILED.
 */
#ifndef OPENCLAW_DB_DB_H
#define OPENCLAW_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/option.h"
#include "base/text.h"
#include "db/statement.h"

#define DB_STATE_DISK_FULL "53100"

/* ---- calls ------------------------------------------------------------------------------ */

/* A statement and its parameters, added in the order of $1, $2 …; the values are copied into the
 * arena. Text form on the wire; arrays are written as PostgreSQL array literals. */
struct db_call {
    enum statement statement;
    struct arena *arena;
    unsigned count;
    enum error error; /* the first misuse while it was built; running it returns it */
    const char *values[STATEMENT_PARAMS_MAX]; /* NULL is SQL null */
};

void db_call_init(struct db_call *call, struct arena *arena, enum statement statement);
void db_add_text(struct db_call *call, struct text value); /* absent is null */
void db_add_string(struct db_call *call, const char *value);
void db_add_int(struct db_call *call, int64_t value);
void db_add_null(struct db_call *call);
void db_add_bool(struct db_call *call, bool value);
void db_add_texts(struct db_call *call, const struct text *values, size_t count);
void db_add_ints(struct db_call *call, const int64_t *values,
                 size_t count); /* DB_INT_NULL is null */
void db_add_bools(struct db_call *call, const bool *values, size_t count);
#define DB_INT_NULL INT64_MIN

/* ---- answers ---------------------------------------------------------------------------- */

/* The rows of an answer, released with the arena of the call that got them. Reading is typed and
 * sticky: a wrong type, an unexpected null or a missing column is remembered, and db_rows_error()
 * asked once at the end. Columns are addressed by position, as the statement lists them. */
struct db_rows;

size_t db_rows_count(const struct db_rows *rows);
bool db_is_null(const struct db_rows *rows, size_t row, unsigned column);
struct text db_text(struct db_rows *rows, size_t row, unsigned column); /* null gives TEXT_NONE */
int64_t db_int(struct db_rows *rows, size_t row, unsigned column);      /* null is a fault */
int64_t db_int_or(struct db_rows *rows, size_t row, unsigned column, int64_t otherwise);
bool db_bool(struct db_rows *rows, size_t row, unsigned column);
/* Elements of a text[] in the arena; *ret_count of them; nulls are TEXT_NONE. */
struct text *db_texts(struct db_rows *rows, size_t row, unsigned column, size_t *ret_count);
enum error db_rows_error(const struct db_rows *rows, struct failure *failure) MUST_CHECK;

/* ---- one connection --------------------------------------------------------------------- */

struct db;

/* Once, before the first connection: the schema name put into every statement, time limits. */
void db_configure(const struct options *options);

/* What libpq would not understand of a setting (DATABASE_URL, DIRECT_DATABASE_URL, PG*), without
 * connecting: NULL, or what is allowed. An option_check. */
const char *db_setting_fault(const char *name, const char *value);

enum db_route {
    DB_POOLED /* DATABASE_URL or PG* */,
    DB_DIRECT /* DIRECT_DATABASE_URL, else as pooled */,
    DB_RELAYED /* what db_start() starts goes to the relay of this host where there is one; all
                  else as pooled */
};

/* Makes a closed connection; it is opened by the first call that needs it. */
struct db *db_new(enum db_route route);
void db_close(struct db *db);         /* closes the socket, stays usable */
void db_free(struct db *db);          /* NULL is allowed */
bool db_is_open(const struct db *db); /* to the database, or to the relay */
/* The process id that was announced when it was opened; a pooler announces one of its own. 0:
 * closed. */
int64_t db_announced_pid(const struct db *db);

/* Runs one call in a transaction of its own and waits, at most DB_TIMEOUT_MS; then the
 * statement is cancelled, and where no answer comes within a second more the connection closed.
 * Opens the connection where it is closed; reconnects once, silently, where a connection that had
 * been idle turns out dead before the call was sent. */
enum error db_run(struct db *db, const struct db_call *call, struct failure *failure,
                  struct db_rows **ret_rows) MUST_CHECK;

/* While a call of this connection waits, `still_waiting` is called by the thread that waits: at
 * once, and then every `every_ms`. */
void db_on_wait(struct db *db, int64_t every_ms, void (*still_waiting)(void));

/* A transaction (READ COMMITTED), sticky and pipelined: begin, call, call, …, commit go out
 * together; each call after the first failure does nothing; db_tx_commit() waits, reports the
 * first failure, and has committed if it returns OK, may have on ERR_IN_DOUBT, has not on any
 * other. So that a wrong number of rows is no commit either, the commit waits for the answers
 * (one more round trip) where a statement declares `rows: one` or `optional`. ret_rows (may be
 * NULL) are filled by the commit, in the arena of the call. At most DB_TX_CALLS_MAX calls; the
 * calls and their arenas must live until the commit. */
#define DB_TX_CALLS_MAX 32
struct db_tx;
struct db_tx *db_tx_begin(struct db *db, struct arena *arena);
void db_tx_call(struct db_tx *tx, const struct db_call *call, struct db_rows **ret_rows);
enum error db_tx_commit(struct db_tx *tx, struct failure *failure) MUST_CHECK;

/* ---- without blocking ------------------------------------------------------------------- */

/* Starts a call (connecting first where needed) and returns at once (libpq resolves a host's name
 * while it waits, so name it by address or socket). One call at a time; `call` and its arena must
 * live until it is done. The time limit is that of db_run. */
void db_start(struct db *db, const struct db_call *call);
/* The same with a time limit of its own; never by the relay. */
void db_start_within(struct db *db, const struct db_call *call, int64_t timeout_ms);
bool db_busy(const struct db *db);
/* For poll(2): the descriptor (-1: none), POLLIN/POLLOUT, and when to call db_advance at the
 * latest (clock_ms, or INT64_MAX). */
int db_poll_fd(const struct db *db);
short db_poll_events(const struct db *db);
int64_t db_poll_deadline(const struct db *db);
/* Goes as far as possible without blocking. True: the call is done, and *ret_error (with
 * *failure) and on OK *ret_rows tell how. */
bool db_advance(struct db *db, struct failure *failure, enum error *ret_error,
                struct db_rows **ret_rows);

/* ---- hearing notifications --------------------------------------------------------------- */

/* A connection on which a call has said LISTEN (STATEMENT_BELL_LISTEN); a DB_DIRECT one, as a
 * pooler would forget it. For poll(2), readable; -1: closed, or a call is under way. */
int db_listen_fd(const struct db *db);
/* The next notification's payload, in the arena, or absent: there is none now. Never blocks. An
 * error (UNAVAILABLE, …): the connection is lost and closed; what was said meanwhile is lost, too.
 */
enum error db_listen_take(struct db *db, struct arena *arena, struct failure *failure,
                          struct text *ret_payload) MUST_CHECK;

/* ---- a pool for threads ----------------------------------------------------------------- */

struct db_pool;
struct db_pool *db_pool_new(size_t size);
void db_pool_free(struct db_pool *pool);
/* Waits at most DB_TIMEOUT_MS for a free connection; then ERR_OVERLOADED. */
enum error db_pool_take(struct db_pool *pool, struct failure *failure,
                        struct db **ret_db) MUST_CHECK;
void db_pool_give(struct db_pool *pool, struct db *db);
/* How many connections are in use, and how many threads wait for one. */
void db_pool_use(struct db_pool *pool, size_t *ret_busy, size_t *ret_waiting);
struct db *db_pool_try(struct db_pool *pool); /* NULL where none is free */

/* ---- scripts, for gatewayctl migrate ---------------------------------------------------- */

/* Runs a script of several statements as it stands (simple protocol: one transaction unless it
 * says begin itself), the schema name replaced. May take ten minutes: it waits for locks. */
enum error db_run_script(struct db *db, const char *script, struct failure *failure) MUST_CHECK;

/* Has the server parse and describe every statement of the list against the migrated schema, runs
 * none; reports each that fails, whose parameters are not of the declared types, or that returns
 * columns though it declares `rows: none`. For the test that prepares them all, and the doctor.
 * The error is that of the first that failed. */
enum error db_prepare_all(struct db *db,
                          void (*report)(void *context, const char *statement,
                                         const struct failure *failure),
                          void *context, struct failure *failure) MUST_CHECK;

#endif
