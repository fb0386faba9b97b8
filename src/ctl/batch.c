/* SPDX-License-Identifier: MIT
 *
 * gatewayctl message batch.
 */
#include <stdio.h>

#include "ctl/ctl.h"
#include "gateway/message_list.h"
#include "workflow/registry.h"

static struct document *refusal(struct arena *arena, const struct failure *failure)
{
    struct document *item = document_object(arena);

    document_put_string(item, "code", error_code(failure->error));
    document_put_string(item, "message", error_phrase(failure->error));
    return document_put_string(item, "detail", failure->detail);
}

static void print_table(const struct ctl *ctl, const struct document *results)
{
    static const struct column columns[] = {{"line", "MESSAGE"},
                                            {"workflowUuid", "WORKFLOW"},
                                            {"status", "STATUS"},
                                            {"detail", "DETAIL"}};
    struct document *rows = document_array(ctl->arena);

    for (size_t i = 0; i < document_count(results); i++) {
        const struct document *item = document_at(results, i);
        struct text status = document_get_string(document_get(item, "result"), "status");
        struct document *row = document_object(ctl->arena);

        document_put_int(row, "line", (int64_t)i + 1);
        document_put_text(row, "workflowUuid", document_get_string(item, "workflowUuid"));
        document_put_text(row, "status", status.data ? status : document_get_string(item, "code"));
        document_put_text(row, "detail", document_get_string(item, "detail"));
        document_append(rows, row);
    }
    ctl_print_rows(ctl, "results", rows, columns, sizeof(columns) / sizeof(columns[0]));
}

/* The first that is not there says what the exit status is: all others are accepted. */
static enum error first_failure(const struct message_list *list,
                                const struct message_receipt *receipts, struct failure *failure)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct failure *why = &list->failures[i];
        const struct message_receipt *receipt = &receipts[list->positions[i]];

        if (why->error == OK && receipt->error != OK)
            why = &receipt->failure;
        if (why->error != OK)
            return failure_set(failure, why->error,
                               "message %zu: %s; those that are not refused are accepted", i + 1,
                               why->detail);
    }
    return OK;
}

enum error ctl_message_batch(struct ctl *ctl, struct failure *failure)
{
    struct principal principal = ctl_principal(ctl);
    struct message_receipt *receipts;
    struct message_batch *batch;
    struct message_list list;
    struct document *answer;
    struct engine engine;
    struct text body, start;
    const char *from;
    enum error error;

    if ((error = ctl_from(ctl, &from, failure)) != OK ||
        (error = ctl_read_stdin(ctl, MESSAGE_LIST_BYTES_MAX, &body, failure)) != OK)
        return error;
    for (start = body; start.len > 0 && (*start.data == ' ' || *start.data == '\n'); start.len--)
        start.data++;
    if ((error = message_list_read(ctl->arena, &ctl->options, body,
                                   start.len == 0 || *start.data != '[', failure, &list)) != OK)
        return error;
    snprintf(principal.id, sizeof(principal.id), "%s", from);
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    batch = message_batch_new(ctl->arena, &engine);
    receipts = arena_array(ctl->arena, list.sendable + 1, sizeof(*receipts));
    for (size_t i = 0; i < list.sendable; i++)
        (void)message_batch_add(batch, &principal, &list.requests[i]);
    error = ctl_message_accept(
        ctl, batch, arena_printf(ctl->arena, "%s: a batch of %zu", from, list.count), failure);
    if (error != OK)
        return error;
    for (size_t i = 0; i < list.sendable; i++)
        receipts[i] = *message_batch_receipt(batch, i);
    answer = message_list_answer(ctl->arena, &list, receipts, refusal);
    if (ctl->json)
        ctl_print_object(ctl, answer);
    else
        print_table(ctl, document_get(answer, "results"));
    return first_failure(&list, receipts, failure);
}
