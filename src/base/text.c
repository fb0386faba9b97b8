/* SPDX-License-Identifier: MIT */
#include "base/text.h"

bool text_equal(struct text a, struct text b)
{
    if (a.data == NULL || b.data == NULL)
        return a.data == b.data;
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

bool text_is(struct text text, const char *string)
{
    return text_equal(text, text_of(string));
}

bool text_starts(struct text text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.data != NULL && text.len >= len && memcmp(text.data, prefix, len) == 0;
}

enum error text_int64(struct text text, int64_t min, int64_t max, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t value = 0;

    if (i == text.len)
        return ERR_INVALID_REQUEST;
    for (size_t k = i; k < text.len; k++) {
        if (text.data[k] < '0' || text.data[k] > '9')
            return ERR_INVALID_REQUEST;
    }
    /* Counted downwards: INT64_MIN has no positive counterpart. */
    for (; i < text.len; i++) {
        int digit = text.data[i] - '0';

        if (value < (INT64_MIN + digit) / 10)
            return ERR_NUMBER_RANGE;
        value = value * 10 - digit;
    }
    if (!negative) {
        if (value == INT64_MIN)
            return ERR_NUMBER_RANGE;
        value = -value;
    }
    if (value < min || value > max)
        return ERR_NUMBER_RANGE;
    *ret_value = value;
    return OK;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Bytes of the well-formed character at `bytes`, of which `left` can be read; 0: not well-formed.
 * The second byte's ranges are those of RFC 3629, section 4: they exclude overlong forms,
 * surrogates, and what lies above U+10FFFF. */
static size_t utf8_character(const unsigned char *bytes, size_t left)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xBF;
    size_t size;

    if (first < 0x80)
        return first != 0 ? 1 : 0;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (left < size)
        return 0;
    if (first == 0xE0)
        low = 0xA0;
    else if (first == 0xED)
        high = 0x9F;
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if (!is_continuation(bytes[i]))
            return 0;
    }
    return size;
}

size_t utf8_valid_prefix(struct text text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t i = 0;

    while (i < text.len) {
        size_t size = utf8_character(bytes + i, text.len - i);

        if (size == 0)
            break;
        i += size;
    }
    return i;
}

bool utf8_valid(struct text text)
{
    return utf8_valid_prefix(text) == text.len;
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool text_is_agent_id(struct text text)
{
    if (text.len == 0 || text.len > AGENT_ID_MAX || !is_alphanumeric(text.data[0]))
        return false;
    for (size_t i = 1; i < text.len; i++) {
        char c = text.data[i];

        if (!is_alphanumeric(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static bool is_key_of_at_most(struct text text, size_t max)
{
    if (text.len == 0 || text.len > max)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (c <= ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return true;
}

bool text_is_message_key(struct text text)
{
    return is_key_of_at_most(text, MESSAGE_KEY_MAX);
}

bool text_is_workflow_id(struct text text)
{
    return is_key_of_at_most(text, WORKFLOW_ID_MAX);
}

static bool has_control(struct text text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;

    for (size_t i = 0; i < text.len; i++) {
        bool is_c1 = bytes[i] == 0xc2 && i + 1 < text.len && bytes[i + 1] < 0xa0;

        if (bytes[i] < 0x20 || bytes[i] == 0x7f || is_c1)
            return true;
    }
    return false;
}

bool text_is_message_id(struct text text)
{
    return text.len > 0 && text.len <= MESSAGE_ID_MAX && utf8_valid(text) && !has_control(text);
}

bool text_is_any_workflow_id(struct text text)
{
    return text_is_message_id(text);
}

bool text_is_word_of(struct text word, const char *words)
{
    while (words != NULL && *words != '\0') {
        size_t len = strcspn(words, " ");

        if (word.len == len && memcmp(word.data, words, len) == 0)
            return true;
        words += len + strspn(words + len, " ");
    }
    return false;
}

static bool is_trace_hex(struct text text, size_t at, size_t count)
{
    for (size_t i = at; i < at + count; i++)
        if (text.data[i] == '\0' || strchr("0123456789abcdef", text.data[i]) == NULL)
            return false;
    return true;
}

bool text_is_request_id(struct text text)
{
    if (text.len == 0 || text.len > HTTP_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c != '\0' && strchr("-._:=+/", c) != NULL)))
            return false;
    }
    return true;
}

static bool is_trace_id(struct text text, size_t at, size_t count)
{
    return is_trace_hex(text, at, count) &&
           strspn(text.data + at, "0") < count; /* the dash behind it ends the span */
}

struct text text_without_zone(struct text address)
{
    const char *zone = address.len > 0 ? memchr(address.data, '%', address.len) : NULL;

    return zone != NULL ? (struct text){address.data, (size_t)(zone - address.data)} : address;
}

bool text_is_traceparent(struct text text)
{
    return text.len == TRACEPARENT_SIZE && text_starts(text, "00-") && text.data[35] == '-' &&
           text.data[52] == '-' && is_trace_id(text, 3, 32) && is_trace_id(text, 36, 16) &&
           is_trace_hex(text, 53, 2);
}

struct text text_trace_id(struct text traceparent)
{
    return text_is_traceparent(traceparent) ? (struct text){traceparent.data + 3, 32} : TEXT_NONE;
}
