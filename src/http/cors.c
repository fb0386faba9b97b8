/* SPDX-License-Identifier: MIT */
#include "http/cors.h"

#include "gateway/principal.h"

static bool is_allowed(const struct http_context *context)
{
    struct text origin = context->request->origin;

    return origin.len > 0 && origin_allowed(context->server->options->cors_origins, origin);
}

void cors_add(struct http_context *context)
{
    if (context->server->options->cors_origins[0] == '\0')
        return;
    /* also to those who are refused, or a cache would give one origin's answer to another */
    response_header(context->response, "Vary", TEXT_LITERAL("Origin"));
    if (!is_allowed(context))
        return;
    response_header(context->response, "Access-Control-Allow-Origin", context->request->origin);
    response_header(context->response, "Access-Control-Expose-Headers",
                    TEXT_LITERAL("ETag, Idempotency-Replayed, Location, Preference-Applied, "
                                 "Retry-After, X-Request-Id, traceparent"));
}

void cors_add_preflight(struct http_context *context, const char *methods)
{
    if (context->request->access_control_request_method.len == 0 || !is_allowed(context))
        return;
    response_header(context->response, "Access-Control-Allow-Methods", text_of(methods));
    response_header(context->response, "Access-Control-Allow-Headers",
                    TEXT_LITERAL("Authorization, Content-Type, Idempotency-Key, If-Match, "
                                 "If-None-Match, Prefer, X-Request-Id, traceparent"));
    response_header(context->response, "Access-Control-Max-Age", TEXT_LITERAL("600"));
}
