/* SPDX-License-Identifier: MIT
 *
 * Portable JSON as the workflow tables hold it: inputs, errors, and the superjson envelope of
 * native TypeScript clients. Source: dbos-interop.md, section 3.
 */
#include "base/document.h"
#include "durable/run.h"

struct text portable_error(struct arena *arena, const struct failure *failure)
{
    struct document *error = document_object(arena);
    const char *phrase = error_phrase(failure->error);

    document_put_string(error, "name", "GatewayError");
    document_put_string(error, "message",
                        failure->detail[0] ? arena_printf(arena, "%s: %s", phrase, failure->detail)
                                           : phrase);
    document_put_string(error, "code", error_code(failure->error));
    return document_text(arena, error);
}

enum error portable_error_read(struct arena *arena, struct text text, struct failure *failure)
{
    struct document *document;
    struct text code, message;
    enum error found = ERR_INTERNAL;

    if (document_parse_stored(arena, text, NULL, &document) != OK)
        return failure_set(failure, ERR_INTERNAL, "a recorded error cannot be read");
    code = document_get_string(document, "code");
    message = document_get_string(document, "message");
    for (enum error error = 1; error < ERR__MAX; error++) {
        if (text_is(code, error_code(error))) {
            found = error;
            break;
        }
    }
    return failure_set(failure, found, "%.*s", (int)message.len, message.data ? message.data : "");
}

static bool is_portable(struct text serialization)
{
    return !serialization.data || text_is(serialization, "portable_json");
}

enum error decode_value(struct workflow *workflow, struct text value, struct text serialization,
                        struct document **ret_value)
{
    struct document *document;
    enum error error;

    if (!value.data || value.len == 0) {
        *ret_value = document_null(workflow->arena);
        return OK;
    }
    if (!is_portable(serialization) && !text_is(serialization, "js_superjson"))
        return failure_set(&workflow->failure, ERR_INVALID_REQUEST,
                           "a value is serialized as %.*s, which this gateway cannot read; "
                           "use portable serialization",
                           (int)serialization.len, serialization.data);
    error = document_parse_stored(workflow->arena, value, &workflow->failure, &document);
    if (error)
        return error;
    if (!is_portable(serialization))
        document = document_get(document, "json");
    *ret_value = document ? document : document_null(workflow->arena);
    return OK;
}

struct text portable_error_of(struct workflow *workflow, struct text error,
                              struct text serialization)
{
    struct document *native, *portable;

    if (is_portable(serialization))
        return error;
    portable = document_object(workflow->arena);
    if (!text_is(serialization, "js_superjson") ||
        document_parse_stored(workflow->arena, error, NULL, &native) != OK ||
        !document_get(document_get(native, "json"), "message")) {
        document_put_string(portable, "name", "Error");
        document_put_text(portable, "message", error);
        return document_text(workflow->arena, portable);
    }
    native = document_get(native, "json");
    document_put_text(portable, "name", document_get_string(native, "name"));
    document_put_text(portable, "message", document_get_string(native, "message"));
    return document_text(workflow->arena, portable);
}

static struct text superjson(struct workflow *workflow, struct document *value)
{
    struct document *envelope = document_object(workflow->arena);

    document_put(envelope, "json", value);
    document_put_string(envelope, "__dbos_serializer", "superjson");
    return document_text(workflow->arena, envelope);
}

struct text encode_output(struct workflow *workflow, struct text value)
{
    if (!value.data || !text_is(workflow->serialization, "js_superjson"))
        return value;
    return superjson(workflow, document_from_json(workflow->arena, value));
}

struct text encode_error(struct workflow *workflow, struct text error)
{
    struct document *portable, *native;

    if (!error.data || !text_is(workflow->serialization, "js_superjson") ||
        document_parse_stored(workflow->arena, error, NULL, &portable) != OK)
        return error;
    native = document_object(workflow->arena);
    document_put_text(native, "name", document_get_string(portable, "name"));
    document_put_text(native, "message", document_get_string(portable, "message"));
    document_put_string(native, "stack", "");
    return superjson(workflow, native);
}

static bool is_absent_or(const struct document *document, enum document_kind kind)
{
    return !document || document_kind(document) == DOCUMENT_NULL || document_kind(document) == kind;
}

enum error decode_input(struct workflow *workflow, struct text inputs)
{
    bool native = text_is(workflow->serialization, "js_superjson");
    struct document *document, *named;
    enum error error;

    if (!inputs.data)
        return OK;
    if (!workflow->serialization.data)
        return failure_set(&workflow->failure, ERR_INVALID_REQUEST,
                           "it does not say how its input is serialized; "
                           "enqueue it with portable serialization");
    if (!native && !text_is(workflow->serialization, "portable_json"))
        return failure_set(&workflow->failure, ERR_INVALID_REQUEST,
                           "its input is serialized as %.*s, which this gateway cannot read; "
                           "enqueue it with portable serialization",
                           (int)workflow->serialization.len, workflow->serialization.data);
    error = document_parse_stored(workflow->arena, inputs, &workflow->failure, &document);
    if (error)
        return error;
    workflow->arguments = document_get(document, native ? "json" : "positionalArgs");
    workflow->named = named = native ? NULL : document_get(document, "namedArgs");
    if (document_kind(document) != DOCUMENT_OBJECT ||
        !is_absent_or(workflow->arguments, DOCUMENT_ARRAY) || (native && !workflow->arguments) ||
        !is_absent_or(named, DOCUMENT_OBJECT))
        return failure_set(&workflow->failure, ERR_INVALID_REQUEST,
                           native ? "its input is not superjson of an array of arguments"
                                  : "its input must have positionalArgs, an array, and namedArgs, "
                                    "an object, where it has them");
    workflow->input = document_at(workflow->arguments, 0);
    return OK;
}
