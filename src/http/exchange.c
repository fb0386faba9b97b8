/* SPDX-License-Identifier: MIT */
#include "http/exchange.h"

#include "base/fault.h"
#include "base/log.h"
#include "http/route.h"

/* True: the web server has taken all of it. */
static bool write_response(const struct http_carrier *carrier, const struct http_request *request,
                           const struct http_response *response)
{
    bool taken;

    FAULT_POINT("client.write");
    taken = carrier->put(carrier->context, response_head(response));
    if (request->method != HTTP_HEAD && response->content_type != NULL)
        taken = taken && carrier->put(carrier->context, response->body);
    taken = taken && carrier->flush(carrier->context);
    FAULT_POINT("client.written");
    return taken;
}

void exchange_answer(struct http_server *server, const struct http_carrier *carrier,
                     struct arena *arena)
{
    struct http_request request;
    struct http_response response;
    struct http_context context = {.server = server,
                                   .request = &request,
                                   .response = &response,
                                   .arena = arena,
                                   .failure = {.error = OK}};
    enum error parsed;

    response_init(&response, arena);
    parsed = request_parse(arena, carrier->variable, carrier->context, &context.failure, &request);
    request.is_gone = carrier->is_gone;
    request.is_gone_context = carrier->context;
    route_answer(&context, parsed, carrier->read_body, carrier->context);
    if (!write_response(carrier, &request, &response))
        log_event(LOG_DEBUG, "http.gone", LOG_TEXT("request", request.id));
    else if (response.written != NULL)
        response.written(response.written_context);
}
