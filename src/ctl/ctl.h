/* SPDX-License-Identifier: MIT
 *
 * gatewayctl: what its verbs share.
 */
#ifndef OPENCLAW_CTL_CTL_H
#define OPENCLAW_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/document.h"
#include "base/option.h"
#include "ctl/arguments.h"
#include "db/db.h"
#include "gateway/principal.h"

/* Of the terminal that the answer goes to; 0: it goes elsewhere, and is not cut. */
struct screen {
    unsigned columns;
    unsigned rows; /* of a table that is shown again and again */
};

struct ctl {
    struct options options;
    struct arguments arguments; /* operands without the verb's own words */
    struct arena *arena;        /* lives as long as the program */
    struct db *db;              /* through the pooler; opened by the first call */
    bool json;
    struct screen screen;
};

/* One row of the table of verbs (verbs.c), from which the usage text is made. */
struct verb {
    const char *words[2]; /* "agent", "add"; the second may be NULL */
    const char *operands; /* as the usage shows them */
    unsigned operands_min, operands_max;
    uint64_t flags;      /* TAKES(…), --json and --help apart, which all take */
    const char *summary; /* NULL: an older name of another one, which the usage does not show */
    enum error (*run)(struct ctl *ctl, struct failure *failure);
};

/* Writes the usage text and returns it; it lives as long as `out`. With operands only that of the
 * verbs which begin so; all where there are none. */
const char *verb_usage(const struct arguments *arguments, struct buffer *out);
/* Takes the verb's words off the operands, and checks what is left and the flags. */
enum error verb_find(struct arguments *arguments, const struct verb **ret_verb,
                     struct failure *failure) MUST_CHECK;

/* What the verbs do. */
enum error ctl_prune(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_migrate(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_add(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_set(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_show(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_pause(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_remove(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_agent_resume(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_principal_add(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_principal_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_token_add(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_token_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_token_rotate(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_token_revoke(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_token_ticket(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_audit_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_message_send(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_message_show(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_message_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_message_tail(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_show(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_redrive(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_dead_purge(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_message_batch(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_inbox_pull(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_inbox_ack(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_inbox_nack(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_inbox_extend(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_inbox_stats(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_session_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_queue_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_heartbeat_start(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_heartbeat_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_chat_send(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_chat_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_chat_show(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_chat_delete(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_start(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_list(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_get(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_steps(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_events(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_recover(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_metrics(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_cancel(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_resume(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_fork(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_restart(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_rewind(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_workflow_delete(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_health(struct ctl *ctl, struct failure *failure) MUST_CHECK;
enum error ctl_doctor(struct ctl *ctl, struct failure *failure) MUST_CHECK;

/* Who runs this program, for the audit: "os:NAME". Whoever may run it against this database may do
 * everything. */
const char *ctl_who(struct arena *arena);
struct principal ctl_principal(struct ctl *ctl);

/* Adds a row to the audit, in the transaction of the act itself. */
void ctl_call_audit(struct db_call *call, struct arena *arena, const char *act,
                    const char *subject);

/* In whose name this program sends and starts, unless --from says: nobody can be called that. */
#define CTL_SENDER "system"
/* How the names of who runs this program begin, in the audit. */
#define CTL_OPERATING_SYSTEM "os:"

/* ---- message.c ---------------------------------------------------------------------------------
 */

/* The standard input; TOO_LARGE over `max` bytes. */
enum error ctl_read_stdin(struct ctl *ctl, size_t max, struct text *ret_text,
                          struct failure *failure) MUST_CHECK;
/* --from, which must be there, or CTL_SENDER. */
enum error ctl_from(struct ctl *ctl, const char **ret_from, struct failure *failure) MUST_CHECK;
/* Commits messages, and that this program sent them, together; receipts are the batch's then. */
struct message_batch;
enum error ctl_message_accept(struct ctl *ctl, struct message_batch *batch, const char *subject,
                              struct failure *failure) MUST_CHECK;
/* An operand that is text, or (-) the standard input; MAX_MESSAGE_SIZE bytes at most. */
enum error ctl_read_text(struct ctl *ctl, const char *operand, struct text *ret_text,
                         struct failure *failure) MUST_CHECK;
/* The same as a JSON value. */
enum error ctl_read_json(struct ctl *ctl, const char *operand, struct document **ret_value,
                         struct failure *failure) MUST_CHECK;
/* A flag that is a JSON object. */
enum error ctl_read_object(struct ctl *ctl, enum flag flag, struct document **ret_object,
                           struct failure *failure) MUST_CHECK;

/* ---- token.c ------------------------------------------------------------------------------------
 */

#define SCOPES_MAX 16

struct scopes {
    struct text names[SCOPES_MAX];
    size_t count;
};
enum error ctl_scopes_parse(const char *list, struct scopes *ret_scopes,
                            struct failure *failure) MUST_CHECK;

/* The first token of a principal, and what makes that in the same transaction. */
struct token_request {
    const char *principal;
    const char *act;              /* for the audit */
    struct db_call *const *calls; /* what comes first, in this order */
    size_t call_count;
};
/* Does it all or nothing, and prints the token. --expires is read here. */
enum error ctl_give_token(struct ctl *ctl, const struct token_request *request,
                          struct failure *failure) MUST_CHECK;
/* What a principal may be called. Errors: INVALID_ID. */
enum error ctl_principal_name(const char *name, struct failure *failure) MUST_CHECK;
enum error ctl_principal_must_be_new(struct ctl *ctl, const char *name,
                                     struct failure *failure) MUST_CHECK;
enum error ctl_agent_must_exist(struct ctl *ctl, const char *name,
                                struct failure *failure) MUST_CHECK;
enum error ctl_principal_must_exist(struct ctl *ctl, const char *name,
                                    struct failure *failure) MUST_CHECK;

/* ---- output.c ---------------------------------------------------------------------------------
 */

#define TABLE_COLUMNS_MAX 16

struct column {
    const char *key; /* of the rows' objects */
    const char *heading;
};

/* How a column of an answer becomes a member of an object, and perhaps a column of a table. */
struct field {
    const char *key;
    const char *heading; /* NULL: not in the table */
    enum { FIELD_TEXT, FIELD_INT, FIELD_BOOL, FIELD_TIME, FIELD_AGE, FIELD_TEXTS, FIELD_JSON } kind;
};
struct document *ctl_row_document(const struct ctl *ctl, struct db_rows *rows, size_t row,
                                  const struct field *fields, unsigned count);
/* Runs the call and prints its rows, column for column as `fields` has them. */
enum error ctl_run_rows(struct ctl *ctl, const struct db_call *call, const char *name,
                        const struct field *fields, unsigned count,
                        struct failure *failure) MUST_CHECK;
/* The same of rows that were read. */
enum error ctl_print_found(struct ctl *ctl, struct db_rows *rows, const char *name,
                           const struct field *fields, unsigned count,
                           struct failure *failure) MUST_CHECK;
/* Those of the fields that have a heading; TABLE_COLUMNS_MAX at most. */
unsigned ctl_columns(const struct field *fields, unsigned count, struct column *ret_columns);
#define FIELD_COUNT(fields) ((unsigned)(sizeof(fields) / sizeof((fields)[0])))
/* One row of a table whose widths are not known before: for what goes on and on. With --json one
 * object a line. Errors: IO. */
enum error ctl_print_line(const struct ctl *ctl, struct document *object,
                          const struct column *columns, const unsigned *widths,
                          unsigned column_count, struct failure *failure) MUST_CHECK;

/* A flag that is a time: its milliseconds, or `otherwise` where it is not given. */
enum error ctl_duration(const struct ctl *ctl, enum flag flag, int64_t otherwise, int64_t *ret_ms,
                        struct failure *failure) MUST_CHECK;
/* The pause between two looks at the database, which --interval may not make none. */
enum error ctl_interval(const struct ctl *ctl, int64_t otherwise, int64_t *ret_ms,
                        struct failure *failure) MUST_CHECK;
/* The moment that lies so long back, in ms since 1970, or DB_INT_NULL. */
enum error ctl_ago(const struct ctl *ctl, enum flag flag, int64_t *ret_at,
                   struct failure *failure) MUST_CHECK;
/* A flag, or NULL, as a parameter; a flag that is an agent's or a principal's name. */
enum error ctl_add_name(const struct ctl *ctl, struct db_call *call, enum flag flag,
                        struct failure *failure) MUST_CHECK;
/* DB_INT_NULL is null. */
static inline void ctl_add_int(struct db_call *call, int64_t value)
{
    if (value == DB_INT_NULL)
        db_add_null(call);
    else
        db_add_int(call, value);
}
/* A value as a client stored it: JSON where it is that, else its text; NULL where there is none. */
struct document *ctl_value(const struct ctl *ctl, struct text text);

/* What a table may have; nothing where stdout is no terminal. COLUMNS and LINES go before what the
 * terminal says. */
struct screen ctl_screen(bool watching);
/* Prints {"<name>": rows} as JSON, or the rows' `columns` as a table, without headings, and never
 * cut, where the first is empty. */
void ctl_print_rows(const struct ctl *ctl, const char *name, struct document *rows,
                    const struct column *columns, unsigned column_count);
/* Prints an object as JSON, or one line "key: value" for each member. */
void ctl_print_object(const struct ctl *ctl, struct document *object);
/* RFC 3339 in UTC, or NULL where the column is null. */
struct document *ctl_time(const struct ctl *ctl, struct db_rows *rows, size_t row, unsigned column);

/* What a person reads of a value: - for nothing, and nothing that steers the terminal. */
struct text ctl_cell(const struct ctl *ctl, const struct document *value);

/* ---- page.c -------------------------------------------------------------------------------------
 */

/* A part of a list whose rows are in the order of a number, and perhaps of an id behind it. */
struct page {
    unsigned number_column, id_column; /* of the rows; the second only where by_id */
    bool by_id;
    int64_t limit;  /* rows of it; 0 before ctl_page(): 50 */
    int64_t number; /* of the last row of the page before; DB_INT_NULL: this is the first one */
    struct text id;
};
/* Reads --limit, 1 to 1000, and --cursor. */
enum error ctl_page(const struct ctl *ctl, struct page *page, struct failure *failure) MUST_CHECK;
/* Adds the number, the id where there is one, and one row more than the page has: that tells
 * whether there is another one. */
void ctl_add_page(const struct page *page, struct db_call *call);
struct document *ctl_cursor(const struct ctl *ctl, const struct page *page, int64_t number,
                            struct text id);
/* ctl_print_rows() with nextCursor, which is null where `cursor` is NULL: there is no more. Of a
 * table it is said on the standard error. */
void ctl_print_page(const struct ctl *ctl, const char *name, struct document *list,
                    struct document *cursor, const struct column *columns, unsigned column_count);
/* ctl_print_found() and ctl_run_rows() of a page. */
enum error ctl_print_found_page(struct ctl *ctl, struct db_rows *rows, const struct page *page,
                                const char *name, const struct field *fields, unsigned count,
                                struct failure *failure) MUST_CHECK;
enum error ctl_run_page(struct ctl *ctl, const struct db_call *call, const struct page *page,
                        const char *name, const struct field *fields, unsigned count,
                        struct failure *failure) MUST_CHECK;

/* ---- name.c -------------------------------------------------------------------------------------
 */

/* NOT_FOUND where --from, --principal, --queue or --workflow is a name that nobody and nothing has
 * or had: for lists that are empty. */
enum error ctl_names_must_be_known(struct ctl *ctl, struct failure *failure) MUST_CHECK;

/* Operand `index`. */
static inline const char *ctl_operand(const struct ctl *ctl, unsigned index)
{
    return ctl->arguments.operands[index];
}
static inline const char *ctl_flag(const struct ctl *ctl, enum flag flag)
{
    return ctl->arguments.flags[flag];
}

#endif
