/* SPDX-License-Identifier: MIT
 *
 * The handlers of the routes. Each returns OK with the response written, or an error with
 * context->failure filled.
 */
#ifndef OPENCLAW_HTTP_HANDLER_H
#define OPENCLAW_HTTP_HANDLER_H

#include "gateway/start.h"
#include "http/route.h"

/* handler_info.c */
http_handler handle_root, handle_health, handle_healthz, handle_readyz, handle_metrics,
    handle_openapi;
/* handler_messages.c, handler_batch.c */
http_handler handle_message_send, handle_message_batch;
/* handler_workflows.c */
http_handler handle_workflow_list, handle_workflow_get, handle_workflow_steps,
    handle_workflow_events;
/* handler_manage.c: one for all, by the path */
http_handler handle_workflow_manage;
/* handler_start.c */
http_handler handle_workflow_start;
/* handler_lifecycle.c */
http_handler handle_agent_provision, handle_agent_create, handle_heartbeat, handle_pause_resume;
/* handler_chat.c */
http_handler handle_chat, handle_chat_list, handle_chat_get, handle_chat_delete;
/* handler_access.c */
http_handler handle_ws_ticket, handle_token_list, handle_token_rotate, handle_token_revoke,
    handle_audit;
/* handler_agents.c */
http_handler handle_agent_list, handle_agent_get, handle_agent_change, handle_agent_delete,
    handle_heartbeat_list;
/* handler_inbox.c */
http_handler handle_inbox_pull, handle_inbox_ack, handle_inbox_nack, handle_inbox_extend;

/* handler_dead_letters.c */
http_handler handle_dead_letter_list, handle_dead_letter_get, handle_dead_letter_redrive,
    handle_dead_letter_purge;

/* What several handlers need. */

/* Runs a call and reads nothing: rows in *ret_rows; fills context->failure. */
enum error handler_run(struct http_context *context, const struct db_call *call,
                       struct db_rows **ret_rows) MUST_CHECK;
/* Milliseconds of the database as RFC 3339 text; JSON null where column is null. */
struct document *handler_time(struct http_context *context, struct db_rows *rows, size_t row,
                              unsigned column);
/* Where a page begins: two parameters of the call, a number and an id, from the query's `cursor`;
 * null where there is none. Errors: INVALID_REQUEST. And the cursor of the page behind this row. */
enum error handler_add_cursor(struct http_context *context, struct db_call *call) MUST_CHECK;
struct document *handler_cursor(struct http_context *context, int64_t number, struct text id);
/* A cursor that is only a number: a string, as all of them. */
struct document *handler_number(struct http_context *context, int64_t number);
/* A list that is given in pages. */
struct handler_list {
    const char *name; /* of the member that has the elements */
    struct document *(*item)(struct http_context *context, struct db_rows *rows, size_t row);
    struct document *(*cursor)(struct http_context *context, struct db_rows *rows, size_t row);
};
/* Puts the first `limit` rows, of which one more was asked for, into the answer, and nextCursor:
 * the cursor of the last of them, or null where there are no more. */
enum error handler_put_page(struct http_context *context, const struct handler_list *list,
                            struct db_rows *rows, int64_t limit,
                            struct document *answer) MUST_CHECK;
/* The id of the workflow that the path means (BY_WORKFLOW_ID). NOT_FOUND is answered already. */
enum error handler_workflow_id(struct http_context *context, struct text *ret_id) MUST_CHECK;
/* Where to look what becomes of a workflow; and what was applied of the request's Prefer. */
void handler_workflow_location(struct http_context *context, struct text id);
void handler_preference_applied(struct http_context *context, int64_t wait_s);

/* Starts it, and waits until it has ended, for so long as the request wants (Prefer) and `limit_s`
 * at most. The same key while the first request is being worked on: IN_PROGRESS, unless Prefer says
 * how to wait; a workflow that ended with an error of our table is that error, with a problem that
 * has `workflowUuid` and `success`: false. */
enum error handler_run_workflow(struct http_context *context, const struct workflow_start *start,
                                int64_t limit_s, struct workflow_state *ret_state) MUST_CHECK;
/* 202 with its Location, where it has not ended. */
void handler_not_finished(struct http_context *context, const struct workflow_start *start,
                          const struct workflow_state *state);

/* Answers with one agent and its ETag. Errors: NOT_FOUND. */
enum error handler_agent_answer(struct http_context *context, struct text id,
                                int status) MUST_CHECK;
/* An optional member of the body, of that kind; ERR_INVALID_REQUEST where it is another. JSON null
 * is as good as absent. */
enum error body_text(struct http_context *context, const struct document *object, const char *key,
                     struct text *ret_text) MUST_CHECK;
enum error body_int(struct http_context *context, const struct document *object, const char *key,
                    int64_t otherwise, int64_t *ret_value) MUST_CHECK;
/* The key of a request that may be repeated: the header, or `id`, or both when they are the same.
 */
enum error idempotency_key(struct http_context *context, struct text id,
                           struct text *ret_key) MUST_CHECK;
/* ERR_INVALID_REQUEST where a key was sent to an address that would not keep its promise: `instead`
 * says what to do. */
enum error idempotency_key_refuse(struct http_context *context, const char *instead) MUST_CHECK;

#endif
