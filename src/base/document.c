/* SPDX-License-Identifier: MIT */
#include "base/document.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/document_mend.h"
#include "base/document_scan.h"

/* A document is a json_object by another name; json-c has no object for null, so that gets one. */
struct document {
    char unused;
};

static struct document the_null;
static char is_raw; /* its address, as userdata, marks the strings made by document_from_json() */

static json_object *value_of(const struct document *document)
{
    return document == &the_null ? NULL : (json_object *)(uintptr_t)document;
}

static struct document *document_of(json_object *value)
{
    return value == NULL ? &the_null : (struct document *)value;
}

static json_object *checked(json_object *value)
{
    if (value == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return value;
}

static void release(void *resource)
{
    (void)json_object_put(resource);
}

static struct document *adopt(struct arena *arena, json_object *value)
{
    arena_defer(arena, release, checked(value));
    return document_of(value);
}

static bool has_type(const struct document *document, json_type type)
{
    return document != NULL && json_object_is_type(value_of(document), type);
}

static bool has_raw_text(const struct document *document)
{
    return has_type(document, json_type_string) &&
           json_object_get_userdata(value_of(document)) == &is_raw;
}

/* --- parsing ------------------------------------------------------------------------------------
 */

static size_t count_members(json_object *value)
{
    size_t count = 0;

    if (json_object_is_type(value, json_type_object)) {
        for (const struct lh_entry *entry = json_object_get_object(value)->head; entry != NULL;
             entry = entry->next)
            count += 1 + count_members((json_object *)(uintptr_t)entry->v);
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            count += count_members(json_object_array_get_idx(value, i));
    }
    return count;
}

static enum error build(struct text text, unsigned depth, struct failure *failure,
                        json_object **ret_value)
{
    unsigned levels = (depth < DOCUMENT_SCAN_DEPTH_MAX ? depth : DOCUMENT_SCAN_DEPTH_MAX) + 2;
    json_tokener *tokener = json_tokener_new_ex((int)levels);
    enum json_tokener_error result;
    json_object *value;
    size_t end;

    if (tokener == NULL)
        (void)checked(NULL);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    value = json_tokener_parse_ex(tokener, text.data, (int)text.len);
    result = json_tokener_get_error(tokener);
    end = json_tokener_get_parse_end(tokener);
    if (result == json_tokener_continue) {
        /* A number at the very end: more digits could follow. */
        value = json_tokener_parse_ex(tokener, "", 1);
        result = json_tokener_get_error(tokener);
    }
    json_tokener_free(tokener);
    if (result != json_tokener_success)
        return failure_set(failure, ERR_INVALID_JSON, "at byte %zu: %s", end,
                           json_tokener_error_desc(result));
    *ret_value = value;
    return OK;
}

enum error document_parse(struct arena *arena, struct text text,
                          const struct document_limits *limits, struct failure *failure,
                          struct document **ret_document)
{
    static const struct document_limits widest = {INT_MAX - 1, DOCUMENT_DEPTH_MAX,
                                                  DOCUMENT_VALUES_MAX};
    json_object *value = NULL;
    size_t keys = 0;
    enum error error;

    if (limits == NULL)
        limits = &widest;
    if (text.len > widest.bytes) /* json-c counts with int */
        return failure_set(failure, ERR_TOO_LARGE, "%zu bytes", text.len);
    error = document_scan(text, limits, failure, &keys);
    if (error != OK)
        return error;
    error = build(text, limits->depth, failure, &value);
    if (error != OK)
        return error;
    if (count_members(value) != keys) {
        (void)json_object_put(value);
        return document_scan_duplicate(arena, text, limits, keys, failure);
    }
    *ret_document = value == NULL ? &the_null : adopt(arena, value);
    return OK;
}

/* A mended integer gets its own text back. */
static void unmark(json_object *value)
{
    size_t mark = strlen(DOCUMENT_MEND_MARK), len;
    char *source;

    if (json_object_is_type(value, json_type_object)) {
        for (const struct lh_entry *entry = json_object_get_object(value)->head; entry != NULL;
             entry = entry->next)
            unmark((json_object *)(uintptr_t)entry->v);
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            unmark(json_object_array_get_idx(value, i));
    } else if (json_object_is_type(value, json_type_double)) {
        source = json_object_get_userdata(value); /* as json_object_new_double_s() keeps it */
        len = source != NULL ? strlen(source) : 0;
        if (len > mark && strcmp(source + len - mark, DOCUMENT_MEND_MARK) == 0)
            source[len - mark] = '\0';
    }
}

enum error document_parse_stored(struct arena *arena, struct text text, struct failure *failure,
                                 struct document **ret_document)
{
    static const struct document_limits limits = {
        DOCUMENT_STORED_BYTES_MAX, DOCUMENT_STORED_DEPTH_MAX, DOCUMENT_STORED_VALUES_MAX};
    enum error error = document_parse(arena, text, &limits, failure, ret_document);

    if (error != ERR_NUMBER_RANGE && error != ERR_INVALID_ENCODING)
        return error;
    error = document_parse(arena, document_mend(arena, text), &limits, failure, ret_document);
    if (error == OK)
        unmark(value_of(*ret_document));
    return error;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static enum document_kind raw_kind(const struct document *document)
{
    const char *text = json_object_get_string(value_of(document));

    text += strspn(text, " \t");
    switch (*text) {
    case '{':
        return DOCUMENT_OBJECT;
    case '[':
        return DOCUMENT_ARRAY;
    case '"':
        return DOCUMENT_STRING;
    case 't':
    case 'f':
        return DOCUMENT_BOOL;
    case 'n':
        return DOCUMENT_NULL;
    default:
        return strpbrk(text, ".eE") != NULL ? DOCUMENT_DOUBLE : DOCUMENT_INT;
    }
}

enum document_kind document_kind(const struct document *document)
{
    static const enum document_kind kinds[] = {
        [json_type_null] = DOCUMENT_NULL,     [json_type_boolean] = DOCUMENT_BOOL,
        [json_type_double] = DOCUMENT_DOUBLE, [json_type_int] = DOCUMENT_INT,
        [json_type_object] = DOCUMENT_OBJECT, [json_type_array] = DOCUMENT_ARRAY,
        [json_type_string] = DOCUMENT_STRING,
    };

    if (document == NULL)
        return DOCUMENT_ABSENT;
    if (has_raw_text(document))
        return raw_kind(document);
    return kinds[json_object_get_type(value_of(document))];
}

struct document *document_get(const struct document *object, const char *key)
{
    json_object *value;

    if (!has_type(object, json_type_object) ||
        !json_object_object_get_ex(value_of(object), key, &value))
        return NULL;
    return document_of(value);
}

struct document *document_at(const struct document *array, size_t index)
{
    if (!has_type(array, json_type_array) || index >= json_object_array_length(value_of(array)))
        return NULL;
    return document_of(json_object_array_get_idx(value_of(array), index));
}

size_t document_count(const struct document *container)
{
    if (has_type(container, json_type_object))
        return (size_t)json_object_object_length(value_of(container));
    if (has_type(container, json_type_array))
        return json_object_array_length(value_of(container));
    return 0;
}

struct text document_key(const struct document *object, size_t index)
{
    const struct lh_entry *entry;

    if (!has_type(object, json_type_object))
        return TEXT_NONE;
    entry = json_object_get_object(value_of(object))->head;
    while (entry != NULL && index-- > 0)
        entry = entry->next;
    return entry != NULL ? text_of(entry->k) : TEXT_NONE;
}

struct text document_string(const struct document *document)
{
    if (!has_type(document, json_type_string) || has_raw_text(document))
        return TEXT_NONE;
    return (struct text){json_object_get_string(value_of(document)),
                         (size_t)json_object_get_string_len(value_of(document))};
}

bool document_bool(const struct document *document, bool otherwise)
{
    return has_type(document, json_type_boolean) ? json_object_get_boolean(value_of(document)) != 0
                                                 : otherwise;
}

int64_t document_int(const struct document *document, int64_t otherwise)
{
    return has_type(document, json_type_int) ? json_object_get_int64(value_of(document))
                                             : otherwise;
}

struct text document_get_string(const struct document *object, const char *key)
{
    return document_string(document_get(object, key));
}

/* --- making -------------------------------------------------------------------------------------
 */

/* What is not UTF-8 must not get out, wherever it came from. */
static json_object *new_string(struct text text)
{
    struct buffer clean;
    json_object *value;

    if (text.len >= INT_MAX / 4) { /* json-c counts with int */
        fputs("a text is too large for JSON\n", stderr);
        abort();
    }
    if (utf8_valid(text))
        return checked(json_object_new_string_len(text.data, (int)text.len));
    buffer_init(&clean, INT_MAX);
    while (text.len > 0) {
        size_t good = utf8_valid_prefix(text);

        buffer_append(&clean, (struct text){text.data, good});
        if (good < text.len) {
            buffer_append_string(&clean, "\xEF\xBF\xBD");
            good++;
        }
        text.data += good;
        text.len -= good;
    }
    value = json_object_new_string_len(clean.data, (int)clean.len);
    buffer_release(&clean);
    return checked(value);
}

struct document *document_object(struct arena *arena)
{
    return adopt(arena, json_object_new_object());
}

struct document *document_array(struct arena *arena)
{
    return adopt(arena, json_object_new_array());
}

struct document *document_null(struct arena *arena)
{
    (void)arena;
    return &the_null;
}

struct document *document_from_text(struct arena *arena, struct text text)
{
    return text.data == NULL ? &the_null : adopt(arena, new_string(text));
}

struct document *document_from_int(struct arena *arena, int64_t value)
{
    return adopt(arena, json_object_new_int64(value));
}

struct document *document_from_bool(struct arena *arena, bool value)
{
    return adopt(arena, json_object_new_boolean(value));
}

static int write_raw(json_object *value, struct printbuf *out, int level, int flags)
{
    (void)level;
    (void)flags;
    return printbuf_memappend(out, json_object_get_string(value),
                              json_object_get_string_len(value));
}

static json_object *new_raw(struct text json)
{
    json_object *value = checked(json_object_new_string_len(json.data, (int)json.len));

    json_object_set_serializer(value, write_raw, &is_raw, NULL);
    return value;
}

/* A newline within valid JSON is white space; in our output it would end the frame. */
struct document *document_from_json(struct arena *arena, struct text json)
{
    char *line;

    if (json.data == NULL || json.len >= INT_MAX / 4)
        return &the_null;
    line = arena_alloc(arena, json.len + 1);
    for (size_t i = 0; i < json.len; i++)
        line[i] = json.data[i] == '\n' || json.data[i] == '\r' ? ' ' : json.data[i];
    return adopt(arena, new_raw((struct text){line, json.len}));
}

static int copy_one(json_object *source, json_object *parent, const char *key, size_t index,
                    json_object **ret_copy)
{
    if (has_raw_text(document_of(source))) {
        *ret_copy = new_raw((struct text){json_object_get_string(source),
                                          (size_t)json_object_get_string_len(source)});
        return 2; /* the serializer is copied too */
    }
    return json_c_shallow_copy_default(source, parent, key, index, ret_copy);
}

struct document *document_copy(struct arena *arena, const struct document *document)
{
    json_object *copy = NULL;

    if (document == NULL || document == &the_null)
        return &the_null;
    if (json_object_deep_copy(value_of(document), &copy, copy_one) != 0)
        (void)checked(NULL);
    return adopt(arena, copy);
}

/* Takes over the reference. */
static struct document *put(struct document *object, const char *key, json_object *value)
{
    if (!has_type(object, json_type_object) ||
        json_object_object_add(value_of(object), key, value) != 0) {
        fputs("document_put: not an object, or out of memory\n", stderr);
        abort();
    }
    return object;
}

struct document *document_put(struct document *object, const char *key, struct document *value)
{
    return value == NULL ? object : put(object, key, json_object_get(value_of(value)));
}

struct document *document_put_text(struct document *object, const char *key, struct text value)
{
    return value.data == NULL ? object : put(object, key, new_string(value));
}

struct document *document_put_string(struct document *object, const char *key, const char *value)
{
    return document_put_text(object, key, text_of(value));
}

struct document *document_put_int(struct document *object, const char *key, int64_t value)
{
    return put(object, key, checked(json_object_new_int64(value)));
}

struct document *document_put_bool(struct document *object, const char *key, bool value)
{
    return put(object, key, checked(json_object_new_boolean(value)));
}

struct document *document_append(struct document *array, struct document *value)
{
    if (value == NULL)
        return array;
    if (!has_type(array, json_type_array) ||
        json_object_array_add(value_of(array), json_object_get(value_of(value))) != 0) {
        fputs("document_append: not an array, or out of memory\n", stderr);
        abort();
    }
    return array;
}

/* --- writing ------------------------------------------------------------------------------------
 */

struct text document_text(struct arena *arena, const struct document *document)
{
    const char *text;
    size_t len = 0;

    if (document == NULL)
        return TEXT_NONE;
    text = json_object_to_json_string_length(
        value_of(document), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    if (text == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return arena_text(arena, (struct text){text, len});
}
