/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdio.h>

#include "base/arena.h"
#include "http/prefer.h"
#include "http/request.h"
#include "http/response.h"

#define VARIABLES_MAX 16

struct fixture {
    struct arena *arena;
    const char *variables[2 * VARIABLES_MAX];
    unsigned count;
    const char *body;
    size_t step; /* bytes the body gives at a time */
    struct failure failure;
    struct http_request request;
};

static int setup(void **state)
{
    static struct fixture fixture;

    fixture = (struct fixture){.arena = arena_new(), .step = 3};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    arena_free(((struct fixture *)*state)->arena);
    return 0;
}

static void set(struct fixture *fixture, const char *name, const char *value)
{
    fixture->variables[2 * fixture->count] = name;
    fixture->variables[2 * fixture->count + 1] = value;
    fixture->count++;
}

static const char *variable(void *context, const char *name)
{
    const struct fixture *fixture = context;

    for (unsigned i = fixture->count; i-- > 0;)
        if (strcmp(fixture->variables[2 * i], name) == 0)
            return fixture->variables[2 * i + 1];
    return NULL;
}

static ptrdiff_t body(void *context, char *ret_bytes, size_t size)
{
    struct fixture *fixture = context;
    size_t count = strlen(fixture->body);

    if (count > size)
        count = size;
    if (count > fixture->step)
        count = fixture->step;
    memcpy(ret_bytes, fixture->body, count);
    fixture->body += count;
    return (ptrdiff_t)count;
}

static enum error parse(struct fixture *fixture)
{
    return request_parse(fixture->arena, variable, fixture, &fixture->failure, &fixture->request);
}

static enum error parse_uri(struct fixture *fixture, const char *uri)
{
    fixture->count = 0;
    set(fixture, "REQUEST_METHOD", "GET");
    set(fixture, "REQUEST_URI", uri);
    return parse(fixture);
}

static void path_is_decoded_by_segment(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse_uri(f, "/workflows/alice%3Ak%201/steps?limit=3&name=a%20b+c&empty="),
                     OK);
    assert_int_equal(f->request.segment_count, 3);
    assert_text(f->request.segments[1], "alice:k 1");
    assert_text(request_query(&f->request, "limit"), "3");
    assert_text(request_query(&f->request, "name"), "a b c");
    assert_text(request_query(&f->request, "empty"), "");
    assert_null(request_query(&f->request, "absent").data);
    assert_int_equal(parse_uri(f, "/"), OK);
    assert_int_equal(f->request.segment_count, 0);
    assert_int_equal(parse_uri(f, "http://host:1/a/b?c"), OK);
    assert_int_equal(f->request.segment_count, 2);
    assert_int_equal(parse_uri(f, "http://host"), OK);
    assert_int_equal(f->request.segment_count, 0);
    assert_int_equal(parse_uri(f, "*"), OK);
    assert_true(f->request.whole_server);
    assert_int_equal(parse_uri(f, "/caf%C3%A9"), OK);
    assert_text(f->request.segments[0], "caf\xc3\xa9");
}

static void bad_addresses_are_refused(void **state)
{
    static const struct {
        const char *uri;
        enum error error;
    } rows[] = {
        {"/a%", ERR_INVALID_REQUEST},        {"/a%4", ERR_INVALID_REQUEST},
        {"/a%4g", ERR_INVALID_REQUEST},      {"/a%%41", ERR_INVALID_REQUEST},
        {"/a%00b", ERR_INVALID_REQUEST},     {"/a%0d%0ab", ERR_INVALID_REQUEST},
        {"/a%7f", ERR_INVALID_REQUEST},      {"/%ff", ERR_INVALID_ENCODING},
        {"/%c0%af", ERR_INVALID_ENCODING},   {"/%ed%a0%80", ERR_INVALID_ENCODING},
        {"/a?b=%zz", ERR_INVALID_REQUEST},   {"/a?b=%00", ERR_INVALID_REQUEST},
        {"/a?b=1&b=2", ERR_INVALID_REQUEST}, {"/a?b=1&%62=2", ERR_INVALID_REQUEST},
        {"a/b", ERR_INVALID_REQUEST},        {"/1/2/3/4/5/6/7/8/9", ERR_NOT_FOUND},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum error error = parse_uri(*state, rows[i].uri);

        if (error != rows[i].error)
            print_message("# %s\n", rows[i].uri);
        assert_int_equal(error, rows[i].error);
    }
}

static void what_the_server_decoded_is_not_decoded_again(void **state)
{
    struct fixture *f = *state;

    set(f, "REQUEST_METHOD", "GET");
    set(f, "SCRIPT_NAME", "/workflows");
    set(f, "PATH_INFO", "/a%41");
    set(f, "QUERY_STRING", "limit=1");
    assert_int_equal(parse(f), OK);
    assert_text(f->request.segments[1], "a%41");
    assert_text(request_query(&f->request, "limit"), "1");
}

static void long_addresses_are_refused(void **state)
{
    struct fixture *f = *state;
    char uri[HTTP_URI_MAX + 3];
    char query[2048] = "/a?";

    memset(uri, 'a', sizeof(uri));
    uri[0] = '/';
    uri[sizeof(uri) - 1] = '\0';
    assert_int_equal(parse_uri(f, uri), ERR_INVALID_REQUEST);
    for (int i = 0; i <= HTTP_QUERY_MAX; i++)
        snprintf(query + strlen(query), sizeof(query) - strlen(query), "q%d=1&", i);
    assert_int_equal(parse_uri(f, query), ERR_INVALID_REQUEST);
}

static void methods_are_case_sensitive(void **state)
{
    struct fixture *f = *state;

    set(f, "REQUEST_URI", "/");
    set(f, "REQUEST_METHOD", "DELETE");
    assert_int_equal(parse(f), OK);
    assert_int_equal(f->request.method, HTTP_DELETE);
    set(f, "REQUEST_METHOD", "get");
    assert_int_equal(parse(f), OK);
    assert_int_equal(f->request.method, HTTP_OTHER);
    f->count = 1;
    assert_int_equal(parse(f), OK);
    assert_int_equal(f->request.method, HTTP_OTHER);
}

static void headers_are_bounded(void **state)
{
    struct fixture *f = *state;
    char *value = arena_alloc(f->arena, HTTP_HEADER_MAX + 2);

    memset(value, 'a', HTTP_HEADER_MAX + 1);
    assert_int_equal(parse_uri(f, "/"), OK);
    set(f, "HTTP_AUTHORIZATION", value);
    assert_int_equal(parse(f), ERR_INVALID_REQUEST);
    assert_int_equal(parse_uri(f, "/"), OK);
    set(f, "HTTP_IDEMPOTENCY_KEY", "a\r\nb");
    assert_int_equal(parse(f), ERR_INVALID_REQUEST);
}

static void request_ids_are_echoed_where_sane(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(parse_uri(f, "/"), OK);
    assert_int_equal(f->request.id.len, 36);
    set(f, "HTTP_X_REQUEST_ID", "abc-1_2.3:4");
    assert_int_equal(parse(f), OK);
    assert_text(f->request.id, "abc-1_2.3:4");
    set(f, "HTTP_X_REQUEST_ID", "a b");
    assert_int_equal(parse(f), OK);
    assert_int_equal(f->request.id.len, 36);
    set(f, "HTTP_X_REQUEST_ID", "");
    assert_int_equal(parse(f), OK);
    assert_int_equal(f->request.id.len, 36);
}

static void a_traceparent_is_one_or_nothing(void **state)
{
    static const char *const wrong[] = {
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\n",
        "",
    };
    struct fixture *f = *state;

    assert_int_equal(parse_uri(f, "/"), OK);
    assert_null(f->request.traceparent.data);
    set(f, "HTTP_TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_int_equal(parse(f), OK);
    assert_text(f->request.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_text(text_trace_id(f->request.traceparent), "4bf92f3577b34da6a3ce929d0e0e4736");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        set(f, "HTTP_TRACEPARENT", wrong[i]);
        assert_int_equal(parse(f), OK);
        assert_null(f->request.traceparent.data);
    }
}

static enum error read_with(struct fixture *f, const char *length, const char *bytes, size_t limit)
{
    assert_int_equal(parse_uri(f, "/messages"), OK);
    set(f, "CONTENT_LENGTH", length);
    assert_int_equal(parse(f), OK);
    f->body = bytes;
    return request_read_body(&f->request, body, f, limit, &f->failure);
}

static void body_is_as_long_as_it_says(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_with(f, "11", "hello world", 100), OK);
    assert_text(f->request.body, "hello world");
    assert_int_equal(read_with(f, "0", "", 100), OK);
    assert_text(f->request.body, "");
    assert_int_equal(read_with(f, "5", "", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "5", "1234", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "5", "123456", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "-1", "", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "+1", "1", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "0x1", "1", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, " 1", "1", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "1,1", "1", 100), ERR_INVALID_REQUEST);
    assert_int_equal(read_with(f, "", "1", 100), ERR_LENGTH_REQUIRED);
    assert_int_equal(read_with(f, NULL, "1", 100), ERR_LENGTH_REQUIRED);
    assert_int_equal(read_with(f, "100", "", 99), ERR_TOO_LARGE);
    assert_int_equal(read_with(f, "9223372036854775807", "", 99), ERR_TOO_LARGE);
    assert_int_equal(read_with(f, "99999999999999999999", "", 99), ERR_TOO_LARGE);
}

static void media_types_have_parameters(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *type;
        bool json;
    } rows[] = {
        {"application/json", true},      {"application/json; charset=utf-8", true},
        {"Application/JSON ;x=1", true}, {"application/ld+json", true},
        {"application/jsonp", false},    {"text/plain", false},
        {"text/plain; x=+json", false},  {"+json", false},
        {"multipart/form-data", false},  {"", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(parse_uri(f, "/"), OK);
        set(f, "CONTENT_TYPE", rows[i].type);
        assert_int_equal(parse(f), OK);
        assert_int_equal(request_is_media(&f->request, "application/json", "+json"), rows[i].json);
    }
    assert_int_equal(parse_uri(f, "/"), OK);
    assert_false(request_is_media(&f->request, "application/json", "+json"));
}

static void preferences_are_read(void **state)
{
    static const struct {
        const char *header;
        bool async;
        int64_t wait;
    } rows[] = {
        {"", false, -1},
        {"respond-async", true, -1},
        {"Respond-Async, wait=10", true, 10},
        {"wait=\"7\"", false, 7},
        {"wait = 7 ; x=1, respond-async", true, 7},
        {"wait=3, wait=9", false, 3},
        {"foo=\"a, wait=5\", bar", false, -1},
        {"foo=\"a\\\", wait=5\"", false, -1},
        {",,, wait=0", false, 0},
        {"handling=lenient", false, -1},
        {"wait", false, -1},
        {"wait=, respond-async", true, -1},
        {"wait=-1", false, -1},
        {"wait=1e3", false, -1},
        {"wait=1.5", false, -1},
        {"wait=abc, wait=4", false, 4},
        {"wait=99999999999999999999", false, 86400},
        {"wait=-99999999999999999999", false, -1},
    };
    bool async;
    int64_t wait;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prefer_parse(text_of(rows[i].header), &async, &wait);
        assert_int_equal(async, rows[i].async);
        assert_int_equal(wait, rows[i].wait);
    }
    prefer_parse(TEXT_NONE, &async, &wait);
    assert_int_equal(wait, -1);
}

static void queries_are_checked(void **state)
{
    struct fixture *f = *state;
    int64_t value;

    assert_int_equal(parse_uri(f, "/a?limit=5&far=99999999999999999999&word=x"), OK);
    assert_int_equal(request_query_int(&f->request, "limit", 1, 10, 7, NULL, &value), OK);
    assert_int_equal(value, 5);
    assert_int_equal(request_query_int(&f->request, "none", 1, 10, 7, NULL, &value), OK);
    assert_int_equal(value, 7);
    assert_int_equal(request_query_int(&f->request, "limit", 1, 4, 7, NULL, &value),
                     ERR_INVALID_REQUEST);
    assert_int_equal(request_query_int(&f->request, "far", 1, INT64_MAX, 7, NULL, &value),
                     ERR_INVALID_REQUEST);
    assert_int_equal(request_query_int(&f->request, "word", 1, 4, 7, NULL, &value),
                     ERR_INVALID_REQUEST);
    assert_text(request_query_unknown(&f->request, "limit far"), "word");
    assert_text(request_query_unknown(&f->request, NULL), "limit");
    assert_null(request_query_unknown(&f->request, "far word limit").data);
    assert_text(percent_encode(f->arena, text_of("alice:a/b c\xc3\xa9")), "alice:a%2Fb%20c%C3%A9");
}

static void no_value_ends_a_header(void **state)
{
    struct fixture *f = *state;
    struct http_response response;

    response_init(&response, f->arena);
    response_header(&response, "Location", text_of("/a\r\nSet-Cookie: b"));
    response_header(&response, "X-Other", text_of("a\nb"));
    response_header(&response, "X-Good", text_of("c"));
    response.status = 204;
    assert_text(response_head(&response),
                "Status: 204 No Content\r\nX-Good: c\r\nCache-Control: no-store\r\n"
                "X-Content-Type-Options: nosniff\r\n\r\n");
}

static void problems_come_from_the_table(void **state)
{
    struct fixture *f = *state;
    struct http_response response;
    struct failure failure;

    response_init(&response, f->arena);
    (void)failure_set(&failure, ERR_UNKNOWN_RECIPIENT, "ask \"somebody\"");
    response_problem(&response, &failure);
    assert_int_equal(response.status, 404);
    assert_string_equal(response.content_type, "application/problem+json");
    assert_text(
        response.body,
        "{\"type\":\"urn:openclaw:problem:UNKNOWN_RECIPIENT\",\"title\":\"there is no such "
        "agent\",\"status\":404,\"detail\":\"ask \\\"somebody\\\"\",\"code\":"
        "\"UNKNOWN_RECIPIENT\",\"error\":\"there is no such agent: ask \\\"somebody\\\"\"}");
    assert_int_equal(response.header_count, 0);

    /* what the database said is not for the caller */
    response_init(&response, f->arena);
    (void)failure_set(&failure, ERR_DATABASE, "relation secret does not exist");
    response_problem(&response, &failure);
    assert_int_equal(response.status, 500);
    assert_null(strstr(response.body.data, "secret"));
    assert_non_null(strstr(response.body.data, "\"code\":\"INTERNAL\""));

    response_init(&response, f->arena);
    (void)failure_set(&failure, ERR_UNAVAILABLE, "away");
    response_problem(&response, &failure);
    assert_int_equal(response.status, 503);
    assert_int_equal(response.header_count, 1);
    assert_string_equal(response.headers[0].name, "Retry-After");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(path_is_decoded_by_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_addresses_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_server_decoded_is_not_decoded_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(long_addresses_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(methods_are_case_sensitive, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(request_ids_are_echoed_where_sane, setup, teardown),
        cmocka_unit_test_setup_teardown(a_traceparent_is_one_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(body_is_as_long_as_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(media_types_have_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(preferences_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(queries_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(no_value_ends_a_header, setup, teardown),
        cmocka_unit_test_setup_teardown(problems_come_from_the_table, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
