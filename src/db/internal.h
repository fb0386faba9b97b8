/* SPDX-License-Identifier: MIT
 *
 * What the files of this folder share, and nobody else includes: a connection and the exchange
 * that is under way on it.
 *
 * There is one implementation of talking to the server: exchange_advance(), which goes as far as
 * it can without blocking. Waiting (exchange_run) is a poll(2) loop around it.
 */
#ifndef OPENCLAW_DB_INTERNAL_H
#define OPENCLAW_DB_INTERNAL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "db/db.h"

#define DB_TIMEOUT_MS_DEFAULT 5000
#define DB_SCRIPT_TIMEOUT_MS  600000 /* migrations wait for locks and build indexes */
#define DB_CANCEL_MS          1000   /* how long the answer to a cancel request is waited for */

/* ---- settings.c --------------------------------------------------------------------------- */

struct db_settings {
    const char *url;        /* NULL: libpq's PG* variables */
    const char *direct_url; /* NULL: as url */
    const char *schema;
    const char *runtime_dir;
    int64_t timeout_ms;
};

const struct db_settings *db_settings(void);
/* The statement with the schema's name put in. */
const char *settings_statement(enum statement statement);
/* Puts the schema's name in place of the identifier dbos_system. malloc'd. */
char *settings_replace_schema(const char *sql, const char *schema);

/* ---- exchange.c --------------------------------------------------------------------------- */

/* What is sent, and one answer each. */
enum item_kind {
    ITEM_STATEMENT, /* a call, begin, commit or rollback */
    ITEM_SCRIPT,    /* simple protocol; any number of answers, the first error counts */
    ITEM_PREPARE,   /* the unnamed statement: parse only */
    ITEM_DESCRIBE,  /* what the server understood of it */
    ITEM_FLUSH,     /* asks for the answers up to here; has none of its own */
    ITEM_SYNC       /* the end of an implicit transaction block of the pipeline */
};

struct item {
    enum item_kind kind;
    const char *name; /* for messages */
    const char *text;
    const struct statement_info *info; /* NULL: script */
    const char *const *values;
    PGresult *result; /* owned; the first error, else the last answer */
    bool answered;
};

/* Transactions are the longest: begin, the calls, flush, commit, sync, rollback, sync. */
#define EXCHANGE_ITEMS_MAX (DB_TX_CALLS_MAX + 8)

enum exchange_phase {
    PHASE_IDLE,
    PHASE_CONNECT,
    PHASE_ANSWER, /* sending, and reading as answers come */
    PHASE_DONE    /* the outcome has not been fetched yet */
};

struct exchange {
    struct item items[EXCHANGE_ITEMS_MAX];
    unsigned count; /* items there are */
    unsigned sent;  /* of them, given to libpq */
    unsigned read;  /* of them, answered wholly */
    bool pipelined;
    bool transaction;   /* on failure roll back; hold_at and commit_at have a meaning */
    unsigned hold_at;   /* items of the first flight; what follows waits for their answers */
    unsigned commit_at; /* the item that is the commit */
    bool failed;        /* an item was answered with an error or a wrong number of rows */
    bool lost;          /* the connection broke, or was given up */
    bool flushed;       /* what was given to libpq last is with the kernel */
    bool cancelled;     /* the time was up, and the server was asked to stop */
    int64_t timeout_ms;
    struct failure failure; /* the first one */
};

struct db {
    enum db_route route;
    PGconn *conn; /* NULL: closed */
    bool ready;   /* connected wholly */
    enum exchange_phase phase;
    short poll_events;
    int64_t deadline;
    int64_t connect_deadline;
    struct cancel *cancel;       /* NULL: none was asked for */
    struct relay_link *relay;    /* of DB_RELAYED, else NULL */
    void (*still_waiting)(void); /* or NULL; see db_on_wait() */
    int64_t wait_slice_ms;       /* how often it is called */
    const struct db_call *call;
    struct exchange exchange;
};

/* Prepares an empty exchange on an idle connection. */
void exchange_init(struct db *db, bool pipelined);
struct item *exchange_add(struct db *db, enum item_kind kind);
void exchange_add_call(struct db *db, const struct db_call *call);
void exchange_add_control(struct db *db, enum statement statement); /* without parameters */
/* Begins: connects or sends. Ends in PHASE_DONE at the latest after timeout_ms. */
void exchange_start(struct db *db, int64_t timeout_ms);
/* Ends it before it began. */
void exchange_refuse(struct db *db, const struct failure *failure);
bool exchange_advance(struct db *db); /* true: PHASE_DONE */
int64_t exchange_deadline(const struct db *db);
void exchange_run(struct db *db); /* waits until PHASE_DONE */
/* Back to PHASE_IDLE; what results are still owned by the items are cleared. */
void exchange_end(struct db *db);

/* ---- relay_link.c ------------------------------------------------------------------------- */

#define RELAY_SILENCE_MS                                                                           \
    3000 /* then the relay stands still; it says every RELAY_ALIVE_MS that it lives */

struct relay_link;

enum relay_outcome {
    RELAY_BUSY,
    RELAY_ANSWERED,
    RELAY_UNUSED /* it did not do the call, and nobody else has: call the database */
};

struct relay_link *relay_link_new(void);
void relay_link_free(struct relay_link *link);
void relay_link_close(struct relay_link *link);
bool relay_link_is_open(const struct relay_link *link);
bool relay_link_busy(const struct relay_link *link); /* started, and its outcome not taken */
/* False: the relay is not there, or has been found wanting lately. */
bool relay_link_start(struct relay_link *link, const struct db_call *call);
int relay_link_fd(const struct relay_link *link);
short relay_link_events(const struct relay_link *link);
int64_t relay_link_deadline(const struct relay_link *link);
enum relay_outcome relay_link_advance(struct relay_link *link, enum error *ret_error,
                                      struct failure *failure, struct db_rows **ret_rows);

/* ---- connection.c ------------------------------------------------------------------------- */

enum error connection_start(struct db *db, struct failure *failure) MUST_CHECK;
bool connection_is_stale(struct db *db);
void connection_drop(struct db *db); /* closes it, whatever is under way */

/* ---- cancel.c ----------------------------------------------------------------------------- */

struct cancel; /* a cancel request on its way */

struct cancel *cancel_start(PGconn *conn); /* NULL: there can be none */
/* Releases it (NULL is allowed). False: it may still arrive, and would hit whatever runs on the
 * connection then, so the connection must be closed. */
bool cancel_end(struct cancel *cancel) MUST_CHECK;

/* ---- outcome.c ---------------------------------------------------------------------------- */

/* Fill `failure` from an error answer, or from a connection that broke (`in_doubt`: after something
 * was given to it that may have an effect). The detail holds neither values nor passwords. */
enum error outcome_of_result(struct failure *failure, const char *name, const PGresult *result);
enum error outcome_of_loss(struct failure *failure, const char *name, const PGconn *conn,
                           const PGresult *result, bool in_doubt);
bool outcome_is_fatal(const PGresult *result); /* the server or pooler ends the connection */
/* ERR_CARDINALITY where the number of rows is not what the statement declares. */
enum error outcome_check_rows(struct failure *failure, const struct statement_info *info,
                              const PGresult *result) MUST_CHECK;

/* ---- rows.c ------------------------------------------------------------------------------- */

/* Takes the item's result over; it is cleared with the arena. */
struct db_rows *rows_take(struct arena *arena, struct item *item);

/* As they came from the relay; types, values (row by row) and their texts are of the call's arena.
 */
struct db_rows *rows_of_values(const struct db_call *call, const unsigned *types, unsigned columns,
                               const struct text *values, size_t count);
/* Without remembering what is wrong; the indices must be those of the answer. */
unsigned rows_columns(const struct db_rows *rows);
unsigned rows_type(const struct db_rows *rows, unsigned column); /* an OID */
struct text rows_value(const struct db_rows *rows, size_t row, unsigned column);

/* ---- run.c -------------------------------------------------------------------------------- */

/* ERR_INTERNAL, ERR_INVALID_ENCODING where the call does not fit its statement. */
enum error call_check(const struct db_call *call, struct failure *failure) MUST_CHECK;

#endif
