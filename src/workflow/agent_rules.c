/* SPDX-License-Identifier: MIT */
#include "workflow/agent_rules.h"

#include <string.h>
#include <strings.h>

#include "workflow/message_rules.h"

typedef enum error check_function(const struct document *value, const char *name,
                                  struct failure *failure);

static enum error check_text(const struct document *value, const char *name, size_t max,
                             struct failure *failure)
{
    struct text text = document_string(value);

    if (document_kind(value) != DOCUMENT_STRING || text.len == 0)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be a string, or null", name);
    if (text.len > max)
        return failure_set(failure, ERR_TOO_LARGE, "%s may have %zu bytes", name, max);
    return OK;
}

static enum error check_name(const struct document *value, const char *name,
                             struct failure *failure)
{
    return check_text(value, name, AGENT_NAME_MAX, failure);
}

static enum error check_persona(const struct document *value, const char *name,
                                struct failure *failure)
{
    return check_text(value, name, AGENT_PERSONA_MAX, failure);
}

static enum error check_user(const struct document *value, const char *name,
                             struct failure *failure)
{
    return check_text(value, name, AGENT_USER_MAX, failure);
}

static bool is_model_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           strchr("._:/@+-", c) != NULL;
}

/* provider/name; a name may have slashes of its own. */
static enum error check_model(const struct document *value, const char *name,
                              struct failure *failure)
{
    enum error error = check_text(value, name, AGENT_MODEL_MAX, failure);
    struct text model = document_string(value);
    const char *slash;

    if (error != OK)
        return error;
    slash = memchr(model.data, '/', model.len);
    if (slash == NULL || slash == model.data || slash == model.data + model.len - 1)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "model is provider/name, as anthropic/claude");
    for (size_t i = 0; i < model.len; i++)
        if (model.data[i] == '\0' || !is_model_character(model.data[i]))
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "model takes letters, digits and . _ : / @ + -");
    return OK;
}

static enum error check_session_key(const struct document *value, const char *name,
                                    struct failure *failure)
{
    return check_text(value, name, MESSAGE_SESSION_KEY_MAX, failure);
}

/* "agent:<id>:<session>", of this agent: by another's key its conversation would be that one's. */
static bool is_session_key_of(struct text key, struct text agent_id)
{
    static const size_t prefix = sizeof("agent:") - 1;

    return text_starts(key, "agent:") && key.len > prefix + agent_id.len + 1 &&
           memcmp(key.data + prefix, agent_id.data, agent_id.len) == 0 &&
           key.data[prefix + agent_id.len] == ':';
}

static enum error check_inbox_limit(const struct document *value, const char *name,
                                    struct failure *failure)
{
    int64_t limit = document_int(value, 0);

    if (document_kind(value) != DOCUMENT_INT || limit < 1 || limit > AGENT_INBOX_LIMIT_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s is a whole number from 1 to %d", name,
                           AGENT_INBOX_LIMIT_MAX);
    return OK;
}

static enum error check_allow_from(const struct document *value, const char *name,
                                   struct failure *failure)
{
    if (document_kind(value) != DOCUMENT_ARRAY || document_count(value) > AGENT_ALLOW_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "%s is an array of at most %d principals, or null for everybody", name,
                           AGENT_ALLOW_MAX);
    for (size_t i = 0; i < document_count(value); i++)
        if (!text_is_agent_id(document_string(document_at(value, i))))
            return failure_set(failure, ERR_INVALID_ID, "%s: element %zu is no principal's id",
                               name, i);
    return OK;
}

static enum error check_status(const struct document *value, const char *name,
                               struct failure *failure)
{
    struct text status = document_string(value);

    if (!text_is(status, "active") && !text_is(status, "paused"))
        return failure_set(failure, ERR_INVALID_REQUEST, "%s is active or paused", name);
    return OK;
}

static enum error check_configuration(const struct document *value, const char *name,
                                      struct failure *failure)
{
    struct arena *arena;
    size_t size;

    if (document_kind(value) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be an object, or null", name);
    if (document_get(value, "dbos") != NULL)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "gatewayctl agent bridge says which DBOS application an agent is");
    arena = arena_new();
    size = document_text(arena, value).len;
    arena_free(arena);
    if (size > AGENT_CONFIGURATION_MAX)
        return failure_set(failure, ERR_TOO_LARGE, "%s may have %d bytes", name,
                           AGENT_CONFIGURATION_MAX);
    return OK;
}

enum error heartbeat_checklist_check(const struct document *checklist, struct failure *failure)
{
    if (document_kind(checklist) != DOCUMENT_ARRAY ||
        document_count(checklist) > HEARTBEAT_CHECKLIST_MAX)
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "checklist is an array of at most %d strings", HEARTBEAT_CHECKLIST_MAX);
    for (size_t i = 0; i < document_count(checklist); i++) {
        struct text item = document_string(document_at(checklist, i));

        if (item.data == NULL || item.len == 0 || item.len > HEARTBEAT_ITEM_MAX)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "checklist: element %zu is no string of 1 to %d bytes", i,
                               HEARTBEAT_ITEM_MAX);
    }
    return OK;
}

static enum error check_heartbeat(const struct document *value, const char *name,
                                  struct failure *failure)
{
    const struct document *enabled = document_get(value, "enabled");
    const struct document *interval = document_get(value, "interval");
    const struct document *timeout = document_get(value, "timeoutMs");
    int64_t timeout_ms = document_int(timeout, 0);

    if (document_kind(value) != DOCUMENT_OBJECT)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s must be an object, or null", name);
    for (size_t i = 0; i < document_count(value); i++)
        if (!text_is_word_of(document_key(value, i), "enabled interval checklist timeoutMs"))
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "%s has enabled, interval, checklist and timeoutMs", name);
    if (document_kind(enabled) != DOCUMENT_BOOL)
        return failure_set(failure, ERR_INVALID_REQUEST, "%s.enabled is true or false", name);
    if (interval != NULL && (document_kind(interval) != DOCUMENT_STRING ||
                             !text_is_word_of(document_string(interval), "5m 15m 30m 1h 2h")))
        return failure_set(failure, ERR_INVALID_REQUEST, "%s.interval is 5m, 15m, 30m, 1h or 2h",
                           name);
    if (timeout != NULL &&
        (document_kind(timeout) != DOCUMENT_INT || timeout_ms < HEARTBEAT_TIMEOUT_MIN_MS ||
         timeout_ms > HEARTBEAT_TIMEOUT_MAX_MS))
        return failure_set(failure, ERR_INVALID_REQUEST,
                           "%s.timeoutMs is a whole number from %d to %d", name,
                           HEARTBEAT_TIMEOUT_MIN_MS, HEARTBEAT_TIMEOUT_MAX_MS);
    if (document_get(value, "checklist") != NULL)
        return heartbeat_checklist_check(document_get(value, "checklist"), failure);
    return OK;
}

static const struct rule {
    const char *name;
    check_function *check;
    bool clearable;
} rules[] = {
    {"name", check_name, true},
    {"persona", check_persona, true},
    {"model", check_model, true},
    {"userId", check_user, true},
    {"sessionKey", check_session_key, true},
    {"inboxLimit", check_inbox_limit, true},
    {"allowFrom", check_allow_from, true},
    {"status", check_status, false},
    {"heartbeat", check_heartbeat, true},
    {"configuration", check_configuration, true},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

enum error agent_id_check(struct text id, struct failure *failure)
{
    static const char *const reserved[] = {"agent",  "provision", "heartbeat", "gateway",
                                           "system", "sched",     "dbos"};

    if (!text_is_agent_id(id))
        return failure_set(failure, ERR_INVALID_ID,
                           "agentId has 1 to %d letters, digits, dots, dashes or underscores",
                           AGENT_ID_MAX);
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strlen(reserved[i]) == id.len && strncasecmp(id.data, reserved[i], id.len) == 0)
            return failure_set(failure, ERR_INVALID_ID,
                               "the id %s is reserved for the gateway; choose another",
                               reserved[i]);
    return OK;
}

enum error agent_settings_check(const struct document *settings, struct text agent_id,
                                const char *others, struct failure *failure)
{
    struct text session_key = document_get_string(settings, "sessionKey");

    for (size_t i = 0; i < document_count(settings); i++) {
        struct text key = document_key(settings, i);
        const struct document *value;
        size_t r = 0;
        enum error error;

        while (r < RULE_COUNT && !text_is(key, rules[r].name))
            r++;
        if (r == RULE_COUNT && text_is_word_of(key, others))
            continue;
        if (r == RULE_COUNT)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "%.64s: an agent has name, persona, model, userId, sessionKey, "
                               "inboxLimit, allowFrom, status, heartbeat and configuration",
                               key.data);
        value = document_get(settings, rules[r].name);
        if (rules[r].clearable && document_kind(value) == DOCUMENT_NULL)
            continue;
        error = rules[r].check(value, rules[r].name, failure);
        if (error != OK)
            return error;
    }
    if (session_key.data != NULL && !is_session_key_of(session_key, agent_id))
        return failure_set(failure, ERR_INVALID_REQUEST, "sessionKey is agent:%.*s:<session>",
                           (int)agent_id.len, agent_id.data);
    return OK;
}
