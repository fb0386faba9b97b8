/* SPDX-License-Identifier: MIT */
#include "http/handler.h"

#include <string.h>

#include "base/clock.h"
#include "http/metrics.h"
#include "http/openapi.h"
#include "http/probe.h"

#define SERVICE_NAME "openclaw-gateway"
#define HOST_MAX     255

/* The Host header, where it is a name or address and perhaps a port: it goes into an answer. */
static bool is_sane_host(struct text host)
{
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              memchr("-._:[]", c, 6) != NULL))
            return false;
    }
    return true;
}

static const char *authority(struct http_context *context)
{
    const struct options *options = context->server->options;
    bool is_ipv6 = strchr(options->host, ':') != NULL;

    if (is_sane_host(context->request->host))
        return context->request->host.data;
    return arena_printf(context->arena, is_ipv6 ? "[%s]:%lld" : "%s:%lld", options->host,
                        (long long)options->port);
}

enum error handle_root(struct http_context *context)
{
    struct arena *arena = context->arena;
    struct document *endpoints = document_object(arena);
    struct document *answer = document_object(arena);

    document_put_string(endpoints, "websocket",
                        arena_printf(arena, "%s://%s", context->request->is_secure ? "wss" : "ws",
                                     authority(context)));
    document_put_string(endpoints, "health", "/health");
    document_put_string(endpoints, "messages", "/messages");
    document_put_string(endpoints, "workflows", "/workflows");
    document_put_string(endpoints, "agents", "/agents");
    document_put_string(answer, "service", SERVICE_NAME);
    document_put_string(answer, "version", PACKAGE_VERSION);
    document_put(answer, "endpoints", endpoints);
    response_json(context->response, 200, answer);
    return OK;
}

static void put_now(struct document *answer)
{
    char iso[CLOCK_ISO_SIZE];

    clock_iso(clock_wall_ms(), iso);
    document_put_string(answer, "timestamp", iso);
}

enum error handle_health(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    struct failure failure = {.error = OK};
    enum error error = probe_database(context->server->probe, &failure);

    const char *sweeper = probe_sweeper(context->server->probe);

    /* Without a sweeper messages still come and go, but nothing that failed is put right. */
    document_put_string(answer, "status",
                        error != OK                       ? "unhealthy"
                        : strcmp(sweeper, "running") == 0 ? "healthy"
                                                          : "degraded");
    document_put_string(answer, "service", SERVICE_NAME);
    document_put_string(answer, "dbos",
                        error == OK              ? "connected"
                        : error == ERR_SCHEMA    ? "schema_mismatch"
                        : error == ERR_READ_ONLY ? "read_only"
                                                 : "disconnected");
    document_put_string(answer, "sweeper", sweeper);
    put_now(answer);
    if (error != OK) {
        document_put_string(answer, "code", error_code(error));
        response_header(context->response, "Retry-After", TEXT_LITERAL("2"));
    }
    response_json(context->response, error == OK ? 200 : 503, answer);
    return OK;
}

enum error handle_healthz(struct http_context *context)
{
    struct document *answer = document_object(context->arena);

    document_put_string(answer, "status", "alive");
    response_json(context->response, 200, answer);
    return OK;
}

enum error handle_readyz(struct http_context *context)
{
    struct document *answer = document_object(context->arena);
    enum error error = probe_database(context->server->probe, &context->failure);

    if (error != OK && error_http_status(error) != 503)
        return failure_set(
            &context->failure, ERR_SCHEMA,
            "the database does not have this program's schema; run gatewayctl migrate");
    if (error != OK)
        return error;
    document_put_string(answer, "status", "ready");
    document_put_string(answer, "sweeper", probe_sweeper(context->server->probe));
    response_json(context->response, 200, answer);
    return OK;
}

enum error handle_metrics(struct http_context *context)
{
    context->response->status = 200;
    context->response->content_type = METRICS_TYPE;
    context->response->body = metrics_text(context->server->metrics, context->arena);
    return OK;
}

enum error handle_openapi(struct http_context *context)
{
    struct document *document;
    enum error error =
        openapi_document(context->arena, context->server->options, &context->failure, &document);

    if (error != OK)
        return failure_set(&context->failure, ERR_INTERNAL, "the document's parts are no JSON");
    response_json(context->response, 200, document);
    return OK;
}
