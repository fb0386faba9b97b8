/* SPDX-License-Identifier: MIT */
#include "http/route.h"

#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/dead_letter.h"
#include "http/authenticate.h"
#include "http/cors.h"
#include "http/etag.h"
#include "http/handler.h"
#include "http/metrics.h"
#include "http/probe.h"

#define DRAIN_BODY_MAX                                                                             \
    33554432 /* bytes of an unwanted body that are read, so that the web server                    \
                gets to see the answer */

#define GET (HTTP_GET | HTTP_HEAD) /* where reading is safe (RFC 9110, 9.2.1) */

/* A path that stands for itself comes before one with a name in its place. */
const struct http_route http_routes[] = {
    {GET, "/", ACCESS_PUBLIC, 0, BODY_NONE, NULL, NULL, handle_root},
    {GET, "/health", ACCESS_PUBLIC, 0, BODY_NONE, NULL, NULL, handle_health},
    {GET, "/healthz", ACCESS_PUBLIC, 0, BODY_NONE, NULL, NULL, handle_healthz},
    {GET, "/readyz", ACCESS_PUBLIC, 0, BODY_NONE, NULL, NULL, handle_readyz},
    {GET, "/metrics", ACCESS_METRICS, SCOPE_METRICS, BODY_NONE, NULL, NULL, handle_metrics},
    {GET, "/openapi.json", ACCESS_OPENAPI, 0, BODY_NONE, NULL, NULL, handle_openapi},

    {HTTP_POST, "/messages", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_JSON, NULL, NULL,
     handle_message_send},
    {HTTP_POST, "/messages/batch", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_BATCH, NULL, NULL,
     handle_message_batch},

    {GET, "/workflows", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_READ, BODY_NONE, NULL,
     "status name queue since until attribute cursor limit", handle_workflow_list},
    {HTTP_POST, "/workflows/provision-agent", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_JSON, NULL,
     NULL, handle_agent_provision},
    {HTTP_POST, "/workflows/heartbeat", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_JSON,
     "agentId checklist", NULL, handle_heartbeat},
    {HTTP_POST, "/workflows/pause-resume", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_JSON,
     "agentId action reason", NULL, handle_pause_resume},
    {GET, "/workflows/:id", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_READ, BODY_NONE, NULL, NULL,
     handle_workflow_get},
    {HTTP_POST, "/workflows/:name", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_JSON, "input",
     NULL, handle_workflow_start},
    {GET, "/workflows/:id/steps", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_READ, BODY_NONE, NULL,
     "cursor limit", handle_workflow_steps},
    {GET, "/workflows/:id/events", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_READ, BODY_NONE, NULL,
     "cursor limit", handle_workflow_events},
    {HTTP_POST, "/workflows/:id/cancel", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "children", "children", handle_workflow_manage},
    {HTTP_POST, "/workflows/:id/resume", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "queue", "queue", handle_workflow_manage},
    {HTTP_POST, "/workflows/:id/recover", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "", NULL, handle_workflow_manage},
    {HTTP_POST, "/workflows/:id/fork", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "startStep newId version queue", "step newId version queue", handle_workflow_manage},
    {HTTP_POST, "/workflows/:id/restart", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "newId version queue", "newId version queue", handle_workflow_manage},
    {HTTP_POST, "/workflows/:id/rewind", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_OPTIONAL,
     "startStep queue", "step queue", handle_workflow_manage},
    {HTTP_DELETE, "/workflows/:id", ACCESS_PRINCIPAL, SCOPE_WORKFLOWS_WRITE, BODY_NONE, NULL,
     "children", handle_workflow_manage},

    {GET, "/agents", ACCESS_PRINCIPAL, 0, BODY_NONE, NULL, "cursor limit", handle_agent_list},
    {HTTP_POST, "/agents", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_JSON, NULL, NULL,
     handle_agent_create},
    {GET, "/agents/:id", ACCESS_PRINCIPAL, 0, BODY_NONE, NULL, NULL, handle_agent_get},
    {HTTP_PATCH, "/agents/:id", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_JSON, NULL, NULL,
     handle_agent_change},
    {HTTP_DELETE, "/agents/:id", ACCESS_PRINCIPAL, SCOPE_AGENTS_WRITE, BODY_NONE, NULL, NULL,
     handle_agent_delete},
    {GET, "/agents/:id/heartbeats", ACCESS_PRINCIPAL, 0, BODY_NONE, NULL, "cursor limit",
     handle_heartbeat_list},
    {HTTP_GET, "/agents/:id/inbox", ACCESS_PRINCIPAL, SCOPE_INBOX, BODY_NONE, NULL,
     "max wait leaseMs", handle_inbox_pull},
    {HTTP_POST, "/agents/:id/inbox/ack", ACCESS_PRINCIPAL, SCOPE_INBOX, BODY_JSON,
     "deliveryIds deliveryId result", NULL, handle_inbox_ack},
    {HTTP_POST, "/agents/:id/inbox/nack", ACCESS_PRINCIPAL, SCOPE_INBOX, BODY_JSON,
     "deliveryId deliveryIds reason delayMs requeue", NULL, handle_inbox_nack},
    {HTTP_POST, "/agents/:id/inbox/extend", ACCESS_PRINCIPAL, SCOPE_INBOX, BODY_JSON,
     "deliveryIds deliveryId leaseMs", NULL, handle_inbox_extend},

    {HTTP_POST, "/chat", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_JSON,
     "conversationId agentId workspaceId message conversationHistory userId ttlMs", NULL,
     handle_chat},
    {GET, "/chat", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_NONE, NULL, "agent cursor limit",
     handle_chat_list},
    {GET, "/chat/:id", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_NONE, NULL, "cursor limit",
     handle_chat_get},
    {HTTP_DELETE, "/chat/:id", ACCESS_PRINCIPAL, SCOPE_SEND, BODY_NONE, NULL, NULL,
     handle_chat_delete},

    {GET, "/dead-letters", ACCESS_PRINCIPAL, DEAD_LETTER_SCOPES, BODY_NONE, NULL,
     "inbox cursor limit", handle_dead_letter_list},
    {GET, "/dead-letters/:id", ACCESS_PRINCIPAL, DEAD_LETTER_SCOPES, BODY_NONE, NULL, NULL,
     handle_dead_letter_get},
    {HTTP_DELETE, "/dead-letters/:id", ACCESS_PRINCIPAL, DEAD_LETTER_SCOPES, BODY_NONE, NULL, NULL,
     handle_dead_letter_purge},
    {HTTP_POST, "/dead-letters/:id/redrive", ACCESS_PRINCIPAL, DEAD_LETTER_SCOPES, BODY_OPTIONAL,
     "", NULL, handle_dead_letter_redrive},

    {HTTP_POST, "/ws-ticket", ACCESS_PRINCIPAL, 0, BODY_OPTIONAL, "scopes", "scopes",
     handle_ws_ticket},
    {GET, "/tokens", ACCESS_PRINCIPAL, 0, BODY_NONE, NULL, "principal", handle_token_list},
    {HTTP_POST, "/tokens/rotate", ACCESS_PRINCIPAL, 0, BODY_JSON,
     "principal expiresInMs overlapMs scopes", NULL, handle_token_rotate},
    {HTTP_DELETE, "/tokens/:id", ACCESS_PRINCIPAL, 0, BODY_NONE, NULL, NULL, handle_token_revoke},
    {GET, "/audit", ACCESS_PRINCIPAL, SCOPE_OPERATOR, BODY_NONE, NULL,
     "principal act subject since until cursor limit", handle_audit},
    {.path = NULL},
};

enum http_method route_method(const struct http_route *route)
{
    return (enum http_method)(route->methods & ~(unsigned)HTTP_HEAD);
}

/* ---- finding the row ------------------------------------------------------------------------ */

static bool path_matches(const char *pattern, const struct http_request *request,
                         struct text params[HTTP_PARAMS_MAX])
{
    unsigned segment = 0, param = 0;
    const char *at = pattern + 1;

    while (*at != '\0') {
        size_t len = strcspn(at, "/");
        struct text wanted = {at, len};

        if (segment == request->segment_count)
            return false;
        if (at[0] == ':') {
            if (request->segments[segment].len == 0)
                return false;
            params[param++] = request->segments[segment];
        } else if (!text_equal(wanted, request->segments[segment])) {
            return false;
        }
        segment++;
        at += len + (at[len] == '/' ? 1 : 0);
    }
    return segment == request->segment_count;
}

static const char *allowed_methods(struct arena *arena, unsigned methods)
{
    struct buffer text;
    char *result;

    buffer_init(&text, 128);
    for (unsigned method = HTTP_GET; method < HTTP_OTHER; method <<= 1)
        if (methods & method)
            buffer_printf(&text, "%s%s", text.len > 0 ? ", " : "",
                          http_method_name((enum http_method)method));
    result = arena_string(arena, text.data);
    buffer_release(&text);
    return result;
}

/* What a setting has switched off is not there, whatever the method. */
static bool is_served(const struct http_route *route, const struct options *options)
{
    return (route->access != ACCESS_METRICS || options->metrics != METRICS_OFF) &&
           (route->access != ACCESS_OPENAPI || options->openapi != OPENAPI_OFF);
}

/* The row of this request, with the parameters of its path. NULL: context->failure says why not, or
 * it was OPTIONS and is answered. */
static const struct http_route *find_route(struct http_context *context)
{
    struct http_request *request = context->request;
    unsigned methods = request->whole_server ? HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_OPTIONS : 0;
    struct text params[HTTP_PARAMS_MAX];
    const char *allowed;

    for (const struct http_route *route = http_routes;
         route->path != NULL && !request->whole_server; route++) {
        if (!path_matches(route->path, request, params) ||
            !is_served(route, context->server->options))
            continue;
        if (route->methods & request->method) {
            memcpy(context->params, params, sizeof(params));
            return route;
        }
        methods |= route->methods | HTTP_OPTIONS;
    }
    if (methods == 0) {
        (void)failure_set(&context->failure, ERR_NOT_FOUND, "there is nothing at this address");
        return NULL;
    }
    allowed = allowed_methods(context->arena, methods);
    response_header(context->response, "Allow", text_of(allowed));
    if (request->method == HTTP_OPTIONS) {
        context->response->status = 204;
        cors_add_preflight(context, allowed);
    } else
        (void)failure_set(&context->failure, ERR_METHOD_NOT_ALLOWED,
                          "the header Allow says which are");
    return NULL;
}

/* ---- what a row requires --------------------------------------------------------------------- */

static enum error check_query(struct http_context *context, const struct http_route *route)
{
    struct text unknown = request_query_unknown(context->request, route->query);

    if (unknown.data == NULL)
        return OK;
    return failure_set(&context->failure, ERR_INVALID_REQUEST,
                       "%.64s is no query parameter of this address; it knows: %s", unknown.data,
                       route->query != NULL ? route->query : "none");
}

static enum error check_access(struct http_context *context, const struct http_route *route)
{
    const struct options *options = context->server->options;
    enum error error;

    if (route->access == ACCESS_PUBLIC ||
        (route->access == ACCESS_METRICS && options->metrics == METRICS_PUBLIC) ||
        (route->access == ACCESS_OPENAPI && options->openapi == OPENAPI_PUBLIC))
        return OK;
    if (route->access == ACCESS_METRICS && authenticate_known_scraper(context->request) &&
        probe_database(context->server->probe, &context->failure) == ERR_UNAVAILABLE)
        return OK;
    error = authenticate(context->server->authenticator, context->request, &context->failure,
                         &context->principal);
    if (error != OK)
        return error;
    if (route->scopes != 0 && !principal_may(&context->principal, route->scopes))
        return failure_set(&context->failure, ERR_FORBIDDEN, "this needs the scope %s",
                           scopes_phrase(context->arena, route->scopes));
    if (route->access == ACCESS_METRICS)
        authenticate_note_scraper(context->request);
    return OK;
}

/* A misspelt member must not be as good as none. Where the row has no list, the handler judges. */
static enum error check_members(struct http_context *context, const struct http_route *route)
{
    for (size_t i = 0; route->members != NULL && i < document_count(context->body); i++) {
        struct text key = document_key(context->body, i);

        if (!text_is_word_of(key, route->members))
            return failure_set(&context->failure, ERR_INVALID_REQUEST,
                               "%.64s is no member of this body; it knows: %s",
                               arena_text(context->arena, key).data, route->members);
    }
    return OK;
}

static enum error take_body(struct http_context *context, const struct http_route *route,
                            http_body_function *read, void *read_context)
{
    struct http_request *request = context->request;
    size_t limit = route->body == BODY_BATCH ? HTTP_BATCH_BODY_MAX
                                             : (size_t)context->server->options->max_message_size;
    struct document_limits limits = {limit, DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX};
    bool is_media = request_is_media(request, "application/json", "+json");
    enum error error;

    if (route->body == BODY_NONE ||
        (route->body == BODY_OPTIONAL && request->content_type.len == 0 &&
         request->content_length.len == 0) ||
        (route->body == BODY_OPTIONAL && text_is(request->content_length, "0")))
        return OK;
    if (request->content_encoding.len > 0 && !text_is(request->content_encoding, "identity"))
        return failure_set(&context->failure, ERR_UNSUPPORTED_MEDIA_TYPE,
                           "send the body as it is, without Content-Encoding");
    if (!is_media &&
        !(route->body == BODY_BATCH && request_is_media(request, "application/x-ndjson", NULL)))
        return failure_set(&context->failure, ERR_UNSUPPORTED_MEDIA_TYPE,
                           "send Content-Type: application/json%s",
                           route->body == BODY_BATCH ? " or application/x-ndjson" : "");
    error = request_read_body(request, read, read_context, limit, &context->failure);
    if (error != OK || route->body == BODY_BATCH)
        return error;
    error =
        document_parse(context->arena, request->body, &limits, &context->failure, &context->body);
    if (error != OK)
        return error;
    if (document_kind(context->body) != DOCUMENT_OBJECT)
        return failure_set(&context->failure, ERR_INVALID_REQUEST,
                           "the body must be a JSON object");
    return check_members(context, route);
}

/* Whoever has it already is told so (RFC 9110, 13.1.2 and 15.4.5). */
static void heed_if_none_match(struct http_context *context)
{
    struct http_response *response = context->response;

    if (!(context->request->method & (HTTP_GET | HTTP_HEAD)) || response->status != 200 ||
        response->etag.data == NULL ||
        !etag_is_known(context->request->if_none_match, response->etag))
        return;
    response->status = 304;
    response->content_type = NULL;
    response->body = TEXT_LITERAL("");
}

static enum error serve(struct http_context *context, enum error parsed, http_body_function *read,
                        void *read_context, const struct http_route **ret_route)
{
    const struct http_route *route;
    enum error error;

    if (parsed != OK)
        return parsed;
    route = *ret_route = find_route(context);
    if (route == NULL)
        return context->response->status == 204 ? OK : context->failure.error;
    error = check_access(context, route);
    if (error == OK)
        error = check_query(context, route);
    if (error == OK)
        error = take_body(context, route, read, read_context);
    if (error == OK)
        error = route->handler(context);
    if (error == OK)
        heed_if_none_match(context);
    return error;
}

static void log_request(const struct http_context *context, const struct http_route *route,
                        enum error error)
{
    const struct http_request *request = context->request;
    int status = context->response->status;

    /* Health checks say by their own status what is wrong; they are no failures of ours. */
    log_event(status >= 500 && error != OK ? LOG_WARN : LOG_DEBUG, "http.request",
              LOG_STR("method", http_method_name(request->method)),
              LOG_STR("route", route != NULL ? route->path : "-"), LOG_INT("status", status),
              LOG_INT("ms", clock_ms() - request->started_ms), LOG_TEXT("request", request->id),
              LOG_TEXT("trace", text_trace_id(request->traceparent)),
              LOG_STR("principal", context->principal.id[0] ? context->principal.id : NULL),
              LOG_INT("bytes", request->body.len),
              LOG_STR("code", error != OK ? error_code(error) : NULL));
    if (error != OK && status >= 500)
        log_failure_of("http.failure", &context->failure, request->id,
                       text_trace_id(request->traceparent));
}

void route_answer(struct http_context *context, enum error parsed, http_body_function *read_body,
                  void *body_context)
{
    const struct http_route *route = NULL;
    char rest[4096];
    size_t drained = 0;
    ptrdiff_t got;
    enum error error;

    metrics_begun(context->server->metrics);
    response_header(context->response, "X-Request-Id", context->request->id);
    cors_add(context);
    error = serve(context, parsed, read_body, body_context, &route);
    if (error != OK) {
        /* the table is what decides about the answer, whatever detail came with it */
        context->failure.error = error;
        if (context->response->content_type == NULL)
            response_problem(context->response, &context->failure);
    }
    while (drained < DRAIN_BODY_MAX && (got = read_body(body_context, rest, sizeof(rest))) > 0)
        drained += (size_t)got;
    metrics_answered(context->server->metrics, route, context->response->status,
                     clock_ms() - context->request->started_ms);
    log_request(context, route, error);
}
