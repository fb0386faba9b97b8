/* SPDX-License-Identifier: MIT */
#include "http/response.h"

#include "base/buffer.h"

#define HEAD_MAX 16384

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

void response_init(struct http_response *response, struct arena *arena)
{
    *response = (struct http_response){.arena = arena, .status = 200, .body = TEXT_LITERAL("")};
}

static bool is_header_value(struct text value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            return false;
    return value.data != NULL;
}

void response_header(struct http_response *response, const char *name, struct text value)
{
    if (response->header_count == HTTP_RESPONSE_HEADERS_MAX || !is_header_value(value))
        return;
    response->headers[response->header_count].name = name;
    response->headers[response->header_count].value = value;
    response->header_count++;
}

void response_etag(struct http_response *response, struct text etag)
{
    response->etag = etag;
    response_header(response, "ETag", etag);
}

void response_json(struct http_response *response, int status, const struct document *document)
{
    response->status = status;
    response->content_type = "application/json";
    response->body = document_text(response->arena, document);
}

struct text response_head(const struct http_response *response)
{
    struct buffer head;
    struct text text;

    buffer_init(&head, HEAD_MAX);
    buffer_printf(&head, "Status: %d %s\r\n", response->status, reason_of(response->status));
    if (response->content_type != NULL)
        buffer_printf(&head, "Content-Type: %s\r\nContent-Length: %zu\r\n", response->content_type,
                      response->body.len);
    for (unsigned i = 0; i < response->header_count; i++) {
        buffer_printf(&head, "%s: ", response->headers[i].name);
        buffer_append(&head, response->headers[i].value);
        buffer_append_string(&head, "\r\n");
    }
    /* Answers are about the moment they were made, and are data, whatever a browser guesses. */
    buffer_append_string(&head,
                         "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n");
    text = arena_text(response->arena, buffer_text(&head));
    buffer_release(&head);
    return text;
}
