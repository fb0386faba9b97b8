/* SPDX-License-Identifier: MIT */
#include "http/handler.h"

#include <string.h>

#include "base/clock.h"
#include "gateway/member.h"

enum error handler_run(struct http_context *context, const struct db_call *call,
                       struct db_rows **ret_rows)
{
    return http_database_run(context->server, call, &context->failure, ret_rows);
}

struct document *handler_time(struct http_context *context, struct db_rows *rows, size_t row,
                              unsigned column)
{
    char iso[CLOCK_ISO_SIZE];

    if (db_is_null(rows, row, column))
        return document_null(context->arena);
    clock_iso(db_int(rows, row, column), iso);
    return document_from_text(context->arena, text_of(iso));
}

enum error body_text(struct http_context *context, const struct document *object, const char *key,
                     struct text *ret_text)
{
    return member_text(object, key, &context->failure, ret_text);
}

enum error body_int(struct http_context *context, const struct document *object, const char *key,
                    int64_t otherwise, int64_t *ret_value)
{
    return member_int(object, key, otherwise, &context->failure, ret_value);
}

enum error idempotency_key(struct http_context *context, struct text id, struct text *ret_key)
{
    struct text header = context->request->idempotency_key;

    /* The IETF draft has it as a quoted string (RFC 8941); most clients send it bare. */
    if (header.len >= 2 && header.data[0] == '"' && header.data[header.len - 1] == '"')
        header = (struct text){header.data + 1, header.len - 2};
    if (header.data != NULL && !text_is_message_key(header))
        return failure_set(&context->failure, ERR_INVALID_ID,
                           "Idempotency-Key takes 1 to %d printable ASCII characters, without "
                           "space, quote and backslash",
                           MESSAGE_KEY_MAX);
    if (header.data != NULL && id.data != NULL && !text_equal(header, id))
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "the header Idempotency-Key and the body's id differ; send one of them");
    *ret_key = header.data != NULL ? header : id;
    return OK;
}

enum error idempotency_key_refuse(struct http_context *context, const char *instead)
{
    if (context->request->idempotency_key.data == NULL)
        return OK;
    return failure_set(&context->failure, ERR_INVALID_REQUEST,
                       "this address takes no Idempotency-Key: %s", instead);
}

/* A cursor is the same whether or not its client encodes it once more: it has no percent sign, for
 * which a tilde stands. */
static struct text cursor_encode(struct arena *arena, struct text id)
{
    struct text encoded = percent_encode(arena, id);
    char *bytes = arena_alloc(arena, 3 * encoded.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < encoded.len; i++) {
        bytes[len++] = encoded.data[i] == '%' ? '~' : encoded.data[i];
        if (encoded.data[i] != '~')
            continue;
        bytes[len++] = '7';
        bytes[len++] = 'E';
    }
    return (struct text){bytes, len};
}

static enum error cursor_decode(struct http_context *context, struct text encoded,
                                struct text *ret_id)
{
    char *bytes = arena_alloc(context->arena, encoded.len + 1);

    for (size_t i = 0; i < encoded.len; i++)
        bytes[i] = encoded.data[i] == '~' ? '%' : encoded.data[i];
    return percent_decode(context->arena, (struct text){bytes, encoded.len}, false,
                          &context->failure, ret_id);
}

enum error handler_add_cursor(struct http_context *context, struct db_call *call)
{
    struct text cursor = request_query(context->request, "cursor");
    const char *dot = cursor.len > 0 ? memchr(cursor.data, '.', cursor.len) : NULL;
    struct text id;
    int64_t number;

    if (cursor.data == NULL) {
        db_add_null(call);
        db_add_null(call);
        return OK;
    }
    if (dot == NULL ||
        text_int64((struct text){cursor.data, (size_t)(dot - cursor.data)}, 0, INT64_MAX,
                   &number) != OK ||
        cursor_decode(context, (struct text){dot + 1, cursor.len - (size_t)(dot + 1 - cursor.data)},
                      &id) != OK)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "cursor is not one that a list has given");
    db_add_int(call, number);
    db_add_text(call, id);
    return OK;
}

struct document *handler_cursor(struct http_context *context, int64_t number, struct text id)
{
    struct text encoded = cursor_encode(context->arena, id);

    return document_from_text(context->arena,
                              text_of(arena_printf(context->arena, "%lld.%.*s", (long long)number,
                                                   (int)encoded.len, encoded.data)));
}

struct document *handler_number(struct http_context *context, int64_t number)
{
    return document_from_text(context->arena,
                              text_of(arena_printf(context->arena, "%lld", (long long)number)));
}

enum error handler_put_page(struct http_context *context, const struct handler_list *list,
                            struct db_rows *rows, int64_t limit, struct document *answer)
{
    struct document *elements = document_array(context->arena);
    bool more = db_rows_count(rows) > (size_t)limit;
    size_t count = more ? (size_t)limit : db_rows_count(rows);

    for (size_t row = 0; row < count; row++)
        document_append(elements, list->item(context, rows, row));
    document_put(answer, list->name, elements);
    document_put(answer, "nextCursor",
                 more ? list->cursor(context, rows, count - 1) : document_null(context->arena));
    return db_rows_error(rows, &context->failure);
}

void handler_workflow_location(struct http_context *context, struct text id)
{
    struct text encoded = percent_encode(context->arena, id);

    response_header(
        context->response, "Location",
        text_of(arena_printf(context->arena, "/workflows/%.*s", (int)encoded.len, encoded.data)));
}

void handler_preference_applied(struct http_context *context, int64_t wait_s)
{
    const struct http_request *request = context->request;

    if (request->wait_s < 0 && !request->respond_async)
        return;
    response_header(
        context->response, "Preference-Applied",
        text_of(arena_printf(
            context->arena, "%s%s%s", request->respond_async ? "respond-async" : "",
            request->respond_async && request->wait_s >= 0 ? ", " : "",
            request->wait_s >= 0 ? arena_printf(context->arena, "wait=%lld", (long long)wait_s)
                                 : "")));
}
