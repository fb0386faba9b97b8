/* SPDX-License-Identifier: MIT
 *
 * The members of the frames and their types. Whatever is read without a type of its own (integers
 * have theirs in request_int) stands here: a member of another type must not be taken for one that
 * was not given. But for traceparent: what is none is ignored, as its standard wants it.
 */
#include "session/state.h"

#include <stdlib.h>
#include <string.h>

const struct member members_connect[] = {
    {"client", MEMBER_OBJECT},
    {"client.id", MEMBER_TEXT},
    {"client.version", MEMBER_TEXT},
    {"client.platform", MEMBER_TEXT},
    {"client.mode", MEMBER_TEXT},
    {"client.displayName", MEMBER_TEXT},
    {"client.instanceId", MEMBER_TEXT},
    {"client.deviceFamily", MEMBER_TEXT},
    {"auth", MEMBER_OBJECT},
    {"auth.token", MEMBER_TEXT},
    {"auth.password", MEMBER_TEXT},
    {"scopes", MEMBER_TEXTS},
    {NULL, MEMBER_TEXT},
};

const struct member members_bare[] = {
    {"from", MEMBER_TEXT},
    {"to", MEMBER_TEXT},
    {"metadata", MEMBER_OBJECT},
    {NULL, MEMBER_TEXT},
};

/* of all methods that send */
const struct member members_send[] = {
    {"to", MEMBER_TEXT},      {"agentId", MEMBER_TEXT},        {"sessionKey", MEMBER_TEXT},
    {"key", MEMBER_TEXT},     {"idempotencyKey", MEMBER_TEXT}, {"from", MEMBER_TEXT},
    {"channel", MEMBER_TEXT}, {"waitFor", MEMBER_TEXT},        {"metadata", MEMBER_OBJECT},
    {NULL, MEMBER_TEXT},
};

/* of all methods about one's inbox */
const struct member members_inbox[] = {
    {"inbox", MEMBER_TEXT},        {"consumer", MEMBER_TEXT},   {"exclusive", MEMBER_BOOL},
    {"deliveryIds", MEMBER_TEXTS}, {"deliveryId", MEMBER_TEXT}, {"requeue", MEMBER_BOOL},
    {"reason", MEMBER_TEXT},       {NULL, MEMBER_TEXT},
};

const struct member members_dead_letters[] = {
    {"inbox", MEMBER_TEXT},
    {"id", MEMBER_TEXT},
    {"ids", MEMBER_TEXTS},
    {NULL, MEMBER_TEXT},
};

/* of all methods about workflows, agent.wait among them */
const struct member members_workflow[] = {
    {"workflowUuid", MEMBER_TEXT}, {"runId", MEMBER_TEXT},    {"status", MEMBER_TEXT},
    {"name", MEMBER_TEXT},         {"newId", MEMBER_TEXT},    {"version", MEMBER_TEXT},
    {"queue", MEMBER_TEXT},        {"children", MEMBER_BOOL}, {"idempotencyKey", MEMBER_TEXT},
    {NULL, MEMBER_TEXT},
};

/* "client.id": the member of a member. */
static const struct document *find(const struct document *params, const char *name)
{
    const char *dot = strchr(name, '.');
    char first[32];

    if (dot == NULL)
        return document_get(params, name);
    if ((size_t)(dot - name) >= sizeof(first))
        abort();
    memcpy(first, name, (size_t)(dot - name));
    first[dot - name] = '\0';
    return document_get(document_get(params, first), dot + 1);
}

static bool are_texts(const struct document *list)
{
    if (document_kind(list) != DOCUMENT_ARRAY)
        return false;
    for (size_t i = 0; i < document_count(list); i++) {
        if (document_kind(document_at(list, i)) != DOCUMENT_STRING)
            return false;
    }
    return true;
}

static bool fits(const struct document *value, enum member_kind kind)
{
    switch (kind) {
    case MEMBER_TEXT:
        return document_kind(value) == DOCUMENT_STRING;
    case MEMBER_BOOL:
        return document_kind(value) == DOCUMENT_BOOL;
    case MEMBER_OBJECT:
        return document_kind(value) == DOCUMENT_OBJECT;
    case MEMBER_TEXTS:
        break;
    }
    return are_texts(value);
}

const char *members_check(struct arena *arena, const struct document *params,
                          const struct member *members)
{
    static const char *const wanted[] = {
        [MEMBER_TEXT] = "a string",
        [MEMBER_BOOL] = "true or false",
        [MEMBER_OBJECT] = "an object",
        [MEMBER_TEXTS] = "an array of strings",
    };

    if (params == NULL || members == NULL)
        return NULL;
    for (; members->name != NULL; members++) {
        const struct document *value = find(params, members->name);

        if (document_kind(value) <= DOCUMENT_NULL || fits(value, members->kind))
            continue;
        return arena_printf(arena, "%s must be %s", members->name, wanted[members->kind]);
    }
    return NULL;
}
