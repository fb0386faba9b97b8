/* SPDX-License-Identifier: MIT */
#include "http/response.h"

#include "base/clock.h"

/* Seconds after which it makes sense to come again. A database that is away is given longer than a
 * queue that is full, and callers are spread. */
#define RETRY_AFTER_OVERLOADED_S 1
#define RETRY_AFTER_AWAY_S       2
#define RETRY_AFTER_FULL_S       5

struct document *problem_document(struct arena *arena, const struct failure *failure)
{
    int status = error_http_status(failure->error);
    const char *code = error_code(failure->error);
    const char *title = error_phrase(failure->error);
    const char *detail = status == 500 || failure->inside ? "" : failure->detail;
    struct document *problem = document_object(arena);

    if (status == 500) { /* whatever the table calls it: inside matters end here */
        code = error_code(ERR_INTERNAL);
        title = error_phrase(ERR_INTERNAL);
        detail = "the log of the gateway has it under this request's id";
    }
    document_put_string(problem, "type", arena_printf(arena, "urn:openclaw:problem:%s", code));
    document_put_string(problem, "title", title);
    document_put_int(problem, "status", status);
    if (detail[0] != '\0')
        document_put_string(problem, "detail", detail);
    document_put_string(problem, "code", code);
    document_put_string(problem, "error",
                        detail[0] != '\0' ? arena_printf(arena, "%s: %s", title, detail) : title);
    return problem;
}

static int64_t retry_after_s(const struct failure *failure)
{
    if (failure->retry_ms > 0)
        return (failure->retry_ms + 999) / 1000; /* who obeys is not too early */
    switch (failure->error) {
    case ERR_OVERLOADED:
    case ERR_IN_PROGRESS:
        return RETRY_AFTER_OVERLOADED_S;
    case ERR_INBOX_FULL:
    case ERR_RATE_LIMITED:
    case ERR_AUTH_RATE_LIMITED:
        return RETRY_AFTER_FULL_S;
    default:
        return clock_jitter_ms(RETRY_AFTER_AWAY_S * 2000) / 1000;
    }
}

void response_problem_document(struct http_response *response, const struct failure *failure,
                               struct document *problem)
{
    response_json(response, error_http_status(failure->error), problem);
    response->content_type = "application/problem+json";
    if (error_retry(failure->error) != RETRY_NEVER && response->status != 500)
        response_header(
            response, "Retry-After",
            text_of(arena_printf(response->arena, "%lld", (long long)retry_after_s(failure))));
    if (response->status == 401)
        response_header(response, "WWW-Authenticate",
                        TEXT_LITERAL("Bearer realm=\"openclaw-gateway\""));
}

void response_problem(struct http_response *response, const struct failure *failure)
{
    response_problem_document(response, failure, problem_document(response->arena, failure));
}
