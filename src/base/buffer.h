/* SPDX-License-Identifier: MIT
 *
 * Growing bytes with a hard limit, for what is read and what waits to be written. Appending is
 * sticky: after the first append that would pass the limit the buffer is `overflowed`, further
 * appends do nothing, and the caller looks once, at the end.
 */
#ifndef OPENCLAW_BASE_BUFFER_H
#define OPENCLAW_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

struct buffer {
    char *data; /* owned; always NUL-terminated behind len once anything was appended */
    size_t len;
    size_t capacity; /* bytes from data on, the NUL included */
    size_t limit; /* bytes */
    bool overflowed;
    size_t given; /* internal: bytes in front of data that buffer_consume() has given away */
};

void buffer_init(struct buffer *buffer, size_t limit);
void buffer_release(struct buffer *buffer);
void buffer_append(struct buffer *buffer, struct text text);
void buffer_append_string(struct buffer *buffer, const char *string);
void buffer_append_byte(struct buffer *buffer, char byte);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *buffer, size_t count); /* drops from the front; gives memory back when empty and large */
void buffer_clear(struct buffer *buffer);                 /* len 0, not overflowed */
struct text buffer_text(const struct buffer *buffer);

#endif
