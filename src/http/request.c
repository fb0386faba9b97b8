/* SPDX-License-Identifier: MIT */
#include "http/request.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/uuid.h"
#include "http/prefer.h"

static const struct {
    enum http_method method;
    const char *name;
} methods[] = {
    {HTTP_GET, "GET"},     {HTTP_HEAD, "HEAD"},     {HTTP_POST, "POST"},       {HTTP_PUT, "PUT"},
    {HTTP_PATCH, "PATCH"}, {HTTP_DELETE, "DELETE"}, {HTTP_OPTIONS, "OPTIONS"},
};
#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

const char *http_method_name(enum http_method method)
{
    for (size_t i = 0; i < METHOD_COUNT; i++)
        if (methods[i].method == method)
            return methods[i].name;
    return "OTHER";
}

static enum http_method method_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < METHOD_COUNT; i++)
        if (strcmp(methods[i].name, name) == 0) /* methods are case-sensitive: RFC 9110, 9.1 */
            return methods[i].method;
    return HTTP_OTHER;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

enum error percent_decode(struct arena *arena, struct text text, bool plus, struct failure *failure,
                          struct text *ret_text)
{
    char *bytes = arena_alloc(arena, text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c == '%') {
            int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_value(text.data[i + 2]) : -1;

            if (high < 0 || low < 0)
                return failure_set(failure, ERR_INVALID_REQUEST,
                                   "a percent sign in the address is not followed by two "
                                   "hexadecimal digits");
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (is_control(c))
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "the address contains a control character");
        bytes[len++] = c;
    }
    if (!utf8_valid((struct text){bytes, len}))
        return failure_set(failure, ERR_INVALID_ENCODING, "the address is not valid UTF-8");
    *ret_text = (struct text){bytes, len};
    return OK;
}

struct text percent_encode(struct arena *arena, struct text text)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:";
    char *bytes = arena_alloc(arena, text.len * 3 + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c != '\0' && strchr(plain, c) != NULL) {
            bytes[len++] = (char)c;
        } else {
            bytes[len++] = '%';
            bytes[len++] = hex[c >> 4];
            bytes[len++] = hex[c & 15];
        }
    }
    return (struct text){bytes, len};
}

static struct text cut(struct text *rest, char separator)
{
    const char *end = rest->len > 0 ? memchr(rest->data, separator, rest->len) : NULL;
    struct text part = *rest;

    if (end == NULL) {
        *rest = TEXT_NONE;
        return part;
    }
    part.len = (size_t)(end - rest->data);
    *rest = (struct text){end + 1, rest->len - part.len - 1};
    return part;
}

static enum error parse_path(struct http_request *request, struct text path, bool encoded,
                             struct failure *failure)
{
    if (path.len == 0 || path.data[0] != '/')
        return failure_set(failure, ERR_INVALID_REQUEST, "the address does not begin with a slash");
    if (path.len == 1)
        return OK;
    path = (struct text){path.data + 1, path.len - 1};
    while (path.data != NULL) {
        struct text segment = cut(&path, '/');
        enum error error;

        if (request->segment_count == HTTP_SEGMENTS_MAX)
            return failure_set(failure, ERR_NOT_FOUND, "there is nothing at this address");
        if (encoded) {
            error = percent_decode(request->arena, segment, false, failure, &segment);
            if (error != OK)
                return error;
        }
        request->segments[request->segment_count++] = segment;
    }
    return OK;
}

static enum error parse_query(struct http_request *request, struct text query,
                              struct failure *failure)
{
    while (query.len > 0) {
        struct text value = cut(&query, '&');
        struct http_query *pair = &request->query[request->query_count];
        enum error error;

        if (value.len == 0)
            continue;
        if (request->query_count == HTTP_QUERY_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST, "more than %d query parameters",
                               HTTP_QUERY_MAX);
        struct text name = cut(&value, '=');

        error = percent_decode(request->arena, name, true, failure, &pair->name);
        if (error != OK)
            return error;
        error = percent_decode(request->arena, value.data != NULL ? value : TEXT_LITERAL(""), true,
                               failure, &pair->value);
        if (error != OK)
            return error;
        for (unsigned i = 0; i < request->query_count; i++)
            if (text_equal(request->query[i].name, pair->name))
                return failure_set(failure, ERR_INVALID_REQUEST,
                                   "the query parameter %.64s is given twice", pair->name.data);
        request->query_count++;
    }
    return OK;
}

/* "http://host/path?query" (absolute form) is the same as "/path?query". */
static struct text without_authority(struct text target)
{
    size_t scheme = text_starts(target, "http://")    ? strlen("http://")
                    : text_starts(target, "https://") ? strlen("https://")
                                                      : 0;
    const char *slash;

    if (scheme == 0)
        return target;
    slash = memchr(target.data + scheme, '/', target.len - scheme);
    if (slash == NULL)
        return TEXT_LITERAL("/");
    return (struct text){slash, target.len - (size_t)(slash - target.data)};
}

static enum error parse_target(struct http_request *request, http_variable_function *variable,
                               void *context, struct failure *failure)
{
    struct text target = text_of(variable(context, "REQUEST_URI"));
    enum error error;

    if (target.len == 0) {
        /* Already decoded by the web server: decoding it again would make %2525 a percent sign. */
        const char *script = variable(context, "SCRIPT_NAME");
        const char *info = variable(context, "PATH_INFO");
        const char *path =
            arena_printf(request->arena, "%s%s", script ? script : "", info ? info : "");

        if (strlen(path) > HTTP_URI_MAX || !utf8_valid(text_of(path)))
            return failure_set(failure, ERR_INVALID_ENCODING, "the address is not valid text");
        error = parse_path(request, text_of(path), false, failure);
        if (error != OK)
            return error;
        target = text_of(variable(context, "QUERY_STRING"));
        if (target.len > HTTP_URI_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST, "the query is too long");
        return parse_query(request, target, failure);
    }
    if (target.len > HTTP_URI_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST, "the address is longer than %d bytes",
                           HTTP_URI_MAX);
    if (text_is(target, "*")) {
        request->whole_server = true;
        return OK;
    }
    target = arena_text(request->arena, without_authority(target));
    error = parse_path(request, cut(&target, '?'), true, failure);
    if (error != OK)
        return error;
    return parse_query(request, target, failure);
}

/* What only helps to find a request again is never a reason to refuse it. */
static void read_tracing(struct http_request *request, http_variable_function *variable,
                         void *context)
{
    struct text id = text_of(variable(context, "HTTP_X_REQUEST_ID"));
    struct text traceparent;
    char uuid[UUID_SIZE];

    if (text_is_request_id(id)) {
        request->id = request->given_id = arena_text(request->arena, id);
    } else {
        uuid_v7(uuid);
        request->id = text_of(arena_string(request->arena, uuid));
    }
    traceparent = text_of(variable(context, "HTTP_TRACEPARENT"));
    if (text_is_traceparent(traceparent))
        request->traceparent = arena_text(request->arena, traceparent);
}

struct header_row {
    const char *variable;
    const char *name;
    struct text *value;
};

/* "on", by convention; some set it to "off" or "" where it is not. */
static bool is_on(struct text value)
{
    return value.len > 0 && !text_is(value, "off");
}

static enum error parse_headers(struct http_request *request, http_variable_function *variable,
                                void *context, struct failure *failure)
{
    struct text prefer = TEXT_NONE;
    const struct header_row rows[] = {
        /* first, so that a page can read why its request was refused, whatever is wrong with it */
        {"HTTP_ORIGIN", "Origin", &request->origin},
        {"HTTP_HOST", "Host", &request->host},
        {"CONTENT_TYPE", "Content-Type", &request->content_type},
        {"HTTP_CONTENT_ENCODING", "Content-Encoding", &request->content_encoding},
        {"CONTENT_LENGTH", "Content-Length", &request->content_length},
        {"HTTP_AUTHORIZATION", "Authorization", &request->authorization},
        {"HTTP_IDEMPOTENCY_KEY", "Idempotency-Key", &request->idempotency_key},
        {"HTTP_PREFER", "Prefer", &prefer},
        {"HTTP_IF_MATCH", "If-Match", &request->if_match},
        {"HTTP_IF_NONE_MATCH", "If-None-Match", &request->if_none_match},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD", "Access-Control-Request-Method",
         &request->access_control_request_method},
        {"REMOTE_ADDR", "the remote address", &request->remote_address},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text value = text_of(variable(context, rows[i].variable));

        if (value.data == NULL)
            continue;
        if (value.len > HTTP_HEADER_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST, "%s is longer than %d bytes",
                               rows[i].name, HTTP_HEADER_MAX);
        for (size_t k = 0; k < value.len; k++)
            if (is_control(value.data[k]) && value.data[k] != '\t')
                return failure_set(failure, ERR_INVALID_REQUEST, "%s has a control character",
                                   rows[i].name);
        *rows[i].value = arena_text(request->arena, value);
    }
    request->remote_address = text_without_zone(request->remote_address);
    request->is_secure = is_on(text_of(variable(context, "HTTPS")));
    /* Some servers set an empty CONTENT_LENGTH or CONTENT_TYPE where the client sent none. */
    request->has_length = request->content_length.len > 0;
    prefer_parse(prefer, &request->respond_async, &request->wait_s);
    return OK;
}

enum error request_parse(struct arena *arena, http_variable_function *variable, void *context,
                         struct failure *failure, struct http_request *ret_request)
{
    struct failure second;
    enum error error;

    *ret_request = (struct http_request){.arena = arena, .wait_s = -1, .started_ms = clock_ms()};
    read_tracing(ret_request, variable, context);
    ret_request->method = method_of(variable(context, "REQUEST_METHOD"));
    error = parse_target(ret_request, variable, context, failure);
    if (error != OK) {
        (void)!parse_headers(ret_request, variable, context, &second);
        return error;
    }
    return parse_headers(ret_request, variable, context, failure);
}

enum error request_read_body(struct http_request *request, http_body_function *read, void *context,
                             size_t limit, struct failure *failure)
{
    int64_t length;
    size_t have = 0;
    enum error error;
    char *bytes;
    char extra;

    if (!request->has_length)
        return failure_set(failure, ERR_LENGTH_REQUIRED, "send a body with its Content-Length");
    error = request->content_length.data[0] == '-' || request->content_length.data[0] == '+'
                ? ERR_INVALID_REQUEST
                : text_int64(request->content_length, 0, INT64_MAX, &length);
    if (error == ERR_NUMBER_RANGE)
        length = INT64_MAX;
    else if (error != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "Content-Length is not a number");
    if ((uint64_t)length > limit)
        return failure_set(failure, ERR_TOO_LARGE, "the body may have %zu bytes at most", limit);

    bytes = arena_alloc(request->arena, (size_t)length + 1);
    while (have < (size_t)length) {
        ptrdiff_t got = read(context, bytes + have, (size_t)length - have);

        if (got <= 0)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "the body is shorter than Content-Length says");
        have += (size_t)got;
    }
    if (read(context, &extra, 1) > 0)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "the body is longer than Content-Length says");
    request->body = (struct text){bytes, have};
    return OK;
}

struct text request_query(const struct http_request *request, const char *name)
{
    for (unsigned i = 0; i < request->query_count; i++)
        if (text_is(request->query[i].name, name))
            return request->query[i].value;
    return TEXT_NONE;
}

enum error request_query_int(const struct http_request *request, const char *name, int64_t min,
                             int64_t max, int64_t otherwise, struct failure *failure,
                             int64_t *ret_value)
{
    struct text value = request_query(request, name);

    if (value.data == NULL) {
        *ret_value = otherwise;
        return OK;
    }
    if (text_int64(value, min, max, ret_value) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "the query parameter %s is a whole number from %lld to %lld", name,
                           (long long)min, (long long)max);
    return OK;
}

struct text request_query_unknown(const struct http_request *request, const char *known)
{
    for (unsigned i = 0; i < request->query_count; i++)
        if (known == NULL || !text_is_word_of(request->query[i].name, known))
            return request->query[i].name;
    return TEXT_NONE;
}

bool request_is_media(const struct http_request *request, const char *type, const char *suffix)
{
    struct text rest = request->content_type;
    struct text media;

    if (rest.data == NULL)
        return false;
    media = cut(&rest, ';');
    while (media.len > 0 && (media.data[media.len - 1] == ' ' || media.data[media.len - 1] == '\t'))
        media.len--;
    if (media.len == strlen(type) && strncasecmp(media.data, type, media.len) == 0)
        return true;
    return suffix != NULL && media.len > strlen(suffix) &&
           strncasecmp(media.data + media.len - strlen(suffix), suffix, strlen(suffix)) == 0;
}
