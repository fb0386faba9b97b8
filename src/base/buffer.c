/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAPACITY 256
#define KEPT_CAPACITY  ((size_t)64 * 1024) /* an empty buffer larger than this is given back */

void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = (struct buffer){.limit = limit < SIZE_MAX ? limit : SIZE_MAX - 1};
}

static void give_back(struct buffer *buffer)
{
    if (buffer->data != NULL)
        free(buffer->data - buffer->given);
    buffer->data = NULL;
    buffer->len = 0;
    buffer->capacity = 0;
    buffer->given = 0;
}

void buffer_release(struct buffer *buffer)
{
    give_back(buffer);
    buffer->overflowed = false;
}

/* Undoes what buffer_consume() gave away: the bytes stand at the start of their memory again. */
static void compact(struct buffer *buffer)
{
    char *start;

    if (buffer->given == 0)
        return;
    start = buffer->data - buffer->given;
    memmove(start, buffer->data, buffer->len);
    buffer->data = start;
    buffer->capacity += buffer->given;
    buffer->given = 0;
}

static void grow(struct buffer *buffer, size_t needed)
{
    size_t capacity;
    char *data;

    /* Compacting pays where it frees at least half; else each small append would move all. */
    if (buffer->given >= buffer->len && buffer->capacity + buffer->given >= needed) {
        compact(buffer);
        return;
    }
    compact(buffer);
    capacity = buffer->capacity > 0 ? buffer->capacity : FIRST_CAPACITY;
    while (capacity < needed)
        capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
    if (capacity > buffer->limit + 1)
        capacity = buffer->limit + 1;
    data = realloc(buffer->data, capacity);
    if (data == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    buffer->data = data;
    buffer->capacity = capacity;
}

/* Room for `count` more bytes and the NUL; false: past the limit, now or before. */
static bool reserve(struct buffer *buffer, size_t count)
{
    if (buffer->overflowed)
        return false;
    if (count > buffer->limit - buffer->len) {
        buffer->overflowed = true;
        return false;
    }
    if (buffer->len + count + 1 > buffer->capacity)
        grow(buffer, buffer->len + count + 1);
    return true;
}

void buffer_append(struct buffer *buffer, struct text text)
{
    if (!reserve(buffer, text.len))
        return;
    if (text.len > 0)
        memcpy(buffer->data + buffer->len, text.data, text.len);
    buffer->len += text.len;
    buffer->data[buffer->len] = '\0';
}

void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, text_of(string));
}

void buffer_append_byte(struct buffer *buffer, char byte)
{
    buffer_append(buffer, (struct text){&byte, 1});
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0) {
        buffer->overflowed = true;
        return;
    }
    if (!reserve(buffer, (size_t)len))
        return;
    va_start(arguments, format);
    (void)vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, arguments);
    va_end(arguments);
    buffer->len += (size_t)len;
}

void buffer_consume(struct buffer *buffer, size_t count)
{
    if (count > buffer->len)
        count = buffer->len;
    if (count == 0)
        return;
    buffer->data += count;
    buffer->given += count;
    buffer->capacity -= count;
    buffer->len -= count;
    if (buffer->len > 0)
        return;
    compact(buffer);
    buffer->data[0] = '\0';
    if (buffer->capacity > KEPT_CAPACITY)
        give_back(buffer);
}

void buffer_clear(struct buffer *buffer)
{
    buffer_consume(buffer, buffer->len);
    buffer->overflowed = false;
}

struct text buffer_text(const struct buffer *buffer)
{
    return (struct text){buffer->data != NULL ? buffer->data : "", buffer->len};
}
