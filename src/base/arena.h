/* SPDX-License-Identifier: MIT
 *
 * One arena per unit of work (a request, a frame, a step): what is allocated in it lives until
 * it is reset or freed, and what was deferred runs then, last first. The arena passed to a
 * function is the lifetime of what that function returns. Out of memory aborts: recovery is the
 * normal path. Not for use by two threads at once.
 */
#ifndef OPENCLAW_BASE_ARENA_H
#define OPENCLAW_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/text.h"

struct arena;

struct arena *arena_new(void) __attribute__((returns_nonnull));
void arena_reset(struct arena *arena); /* runs what was deferred, keeps a first block */
void arena_free(struct arena *arena);  /* NULL is allowed */

/* Zeroed, aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
void *arena_array(struct arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));

/* The copies are NUL-terminated, also where the source was not. */
struct text arena_text(struct arena *arena, struct text text);
char *arena_string(struct arena *arena, const char *string) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((returns_nonnull, format(printf, 2, 3)));
char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
    __attribute__((returns_nonnull, format(printf, 2, 0)));

/* Calls release(resource) when the arena is reset or freed. */
void arena_defer(struct arena *arena, void (*release)(void *resource), void *resource);

#endif
