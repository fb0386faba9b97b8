/* SPDX-License-Identifier: MIT */
#include "http/openapi.h"

#include <string.h>

#include "gateway/principal.h"
#include "http/route.h"

static const struct document_limits part_limits = {
    .bytes = 4 * 1024 * 1024, .depth = DOCUMENT_DEPTH_MAX, .values = 50 * DOCUMENT_VALUES_MAX};

/* Puts the members of `from` into the object `name` of `to`, object by object for `depth` levels.
 */
static void merge(struct arena *arena, struct document *to, const struct document *from, int depth)
{
    for (size_t i = 0; i < document_count(from); i++) {
        const char *key = arena_text(arena, document_key(from, i)).data;
        const struct document *value = document_get(from, key);
        struct document *there = document_get(to, key);

        if (depth > 0 && document_kind(value) == DOCUMENT_OBJECT &&
            document_kind(there) == DOCUMENT_OBJECT)
            merge(arena, there, value, depth - 1);
        else
            document_put(to, key, document_copy(arena, value));
    }
}

/* "/agents/:id/inbox" as "/agents/{id}/inbox"; what a path calls :name is {id} here, because two
 * templates that differ in names only are one path (OpenAPI 3.1, 4.8.8). */
static const char *path_template(struct arena *arena, const char *path)
{
    char *text = arena_alloc(arena, 2 * strlen(path) + 4);
    size_t len = 0;

    while (*path != '\0') {
        if (*path != ':') {
            text[len++] = *path++;
            continue;
        }
        memcpy(text + len, "{id}", 4);
        len += 4;
        path += strcspn(path, "/");
    }
    text[len] = '\0';
    return text;
}

static const char *lower(struct arena *arena, const char *name)
{
    char *text = arena_alloc(arena, strlen(name) + 1);

    for (size_t i = 0; name[i] != '\0'; i++)
        text[i] = (char)(name[i] | 0x20);
    text[strlen(name)] = '\0';
    return text;
}

static struct document *member(struct arena *arena, struct document *object, const char *name)
{
    if (document_get(object, name) == NULL)
        document_put(object, name, document_object(arena));
    return document_get(object, name);
}

/* What anybody may be told at this route, because of its row. */
static void put_problems(struct arena *arena, struct document *responses,
                         const struct http_route *route)
{
    static const char *const with_body[] = {"413", "415", NULL};
    /* a web server asks for it at each POST, whether we want a body or not */
    static const char *const with_length[] = {"411", NULL};
    static const char *const with_access[] = {"401", "429", NULL};
    static const char *const always[] = {"400", "503", NULL};
    static const char *const with_scope[] = {"403", NULL};
    bool needs_length = route->body != BODY_NONE || route_method(route) == HTTP_POST;
    const char *const *const lists[] = {always, route->access != ACCESS_PUBLIC ? with_access : NULL,
                                        route->scopes != 0 ? with_scope : NULL,
                                        route->body == BODY_NONE ? NULL : with_body,
                                        needs_length ? with_length : NULL};

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (const char *const *status = lists[i]; status != NULL && *status != NULL; status++)
            if (document_get(responses, *status) == NULL)
                document_put(responses, *status,
                             document_put_string(document_object(arena), "$ref",
                                                 "#/components/responses/problem"));
}

/* Every answer has it. */
static void put_request_id(struct arena *arena, struct document *responses)
{
    for (size_t i = 0; i < document_count(responses); i++) {
        struct document *one =
            document_get(responses, arena_text(arena, document_key(responses, i)).data);

        if (document_get(one, "$ref") == NULL)
            document_put(member(arena, one, "headers"), "X-Request-Id",
                         document_put_string(document_object(arena), "$ref",
                                             "#/components/headers/X-Request-Id"));
    }
}

/* One requirement for each scope that is enough, by its name (OpenAPI 3.1, 4.8.30). */
static struct document *security_of(struct arena *arena, const struct http_route *route)
{
    struct document *security = document_array(arena);
    size_t count;
    struct text *names = scope_names(arena, route->scopes, &count);

    for (size_t i = 0; i < count; i++)
        document_append(security,
                        document_put(document_object(arena), "bearer",
                                     document_append(document_array(arena),
                                                     document_from_text(arena, names[i]))));
    if (count == 0 && route->access != ACCESS_PUBLIC)
        document_append(security,
                        document_put(document_object(arena), "bearer", document_array(arena)));
    return security;
}

static void put_route(struct arena *arena, const struct options *options, struct document *paths,
                      const struct http_route *route)
{
    struct document *path = member(arena, paths, path_template(arena, route->path));
    struct document *operation =
        member(arena, path, lower(arena, http_method_name(route_method(route))));
    struct document *row = document_object(arena);

    document_put_string(row, "path", route->path);
    if (route->body != BODY_NONE)
        document_put_int(row, "bodyLimit",
                         route->body == BODY_BATCH ? HTTP_BATCH_BODY_MAX
                                                   : options->max_message_size);
    if (route->members != NULL)
        document_put_string(row, "members", route->members);
    document_put_string(row, "query", route->query != NULL ? route->query : "");
    document_put(operation, "security", security_of(arena, route));
    put_problems(arena, member(arena, operation, "responses"), route);
    put_request_id(arena, document_get(operation, "responses"));
    document_put(operation, "x-route", row);
}

enum error openapi_document(struct arena *arena, const struct options *options,
                            struct failure *failure, struct document **ret_document)
{
    struct document *whole = document_object(arena);

    for (const char *const *part = openapi_parts; *part != NULL; part++) {
        struct document *document;
        enum error error = document_parse(arena, text_of(*part), &part_limits, failure, &document);

        if (error != OK)
            return error;
        merge(arena, whole, document, 2);
    }
    document_put_string(document_get(whole, "info"), "version", PACKAGE_VERSION);
    for (const struct http_route *route = http_routes; route->path != NULL; route++)
        put_route(arena, options, document_get(whole, "paths"), route);
    *ret_document = whole;
    return OK;
}
