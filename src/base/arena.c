/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <threads.h>

/* Under AddressSanitizer each object is a block of its own, so that a read past its end is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_SIZE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_SIZE 0
#endif
#endif
#ifndef BLOCK_SIZE
#define BLOCK_SIZE ((size_t)8192)
#endif

struct block {
    struct block *next;
    size_t size; /* of data */
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

struct deferred {
    struct deferred *next;
    void (*release)(void *resource);
    void *resource;
};

struct arena {
    struct block *blocks; /* the first is the one that is filled */
    struct deferred *deferred;
};

static void *allocate(size_t size)
{
    void *memory = malloc(size);

    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

static void too_large(void)
{
    fputs("an allocation is larger than the address space\n", stderr);
    abort();
}

/* A unit of work is soon followed by the next, and malloc() takes its slow path for a block of this
 * size; so each thread keeps a few for its next arenas. */
#define SPARES_MAX 4
static _Thread_local struct spares {
    struct block *first;
    unsigned count;
} spares;
static tss_t spares_key; /* only for its destructor: a thread that ends gives them back */
static once_flag spares_once = ONCE_FLAG_INIT;

static void free_spares(void *of_thread)
{
    struct spares *all = of_thread;

    while (all->first != NULL) {
        struct block *block = all->first;

        all->first = block->next;
        free(block);
    }
    all->count = 0;
}

static void make_spares_key(void)
{
    if (tss_create(&spares_key, free_spares) != thrd_success)
        abort();
}

static void block_free(struct block *block)
{
    if (BLOCK_SIZE == 0 || block->size != BLOCK_SIZE || spares.count == SPARES_MAX) {
        free(block);
        return;
    }
    if (spares.count == 0) {
        call_once(&spares_once, make_spares_key);
        if (tss_set(spares_key, &spares) != thrd_success)
            abort();
    }
    block->next = spares.first;
    spares.first = block;
    spares.count++;
}

static struct block *block_new(size_t size)
{
    struct block *block;

    if (size > SIZE_MAX - sizeof(*block))
        too_large();
    if (size == BLOCK_SIZE && spares.count > 0) {
        block = spares.first;
        spares.first = block->next;
        spares.count--;
    } else {
        block = allocate(sizeof(*block) + size);
    }
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

struct arena *arena_new(void)
{
    struct arena *arena = allocate(sizeof(*arena));

    arena->blocks = NULL;
    arena->deferred = NULL;
    return arena;
}

/* A release may itself defer or allocate; so the list is taken from the front, one at a time. */
static void run_deferred(struct arena *arena)
{
    while (arena->deferred != NULL) {
        struct deferred *deferred = arena->deferred;

        arena->deferred = deferred->next;
        deferred->release(deferred->resource);
    }
}

void arena_reset(struct arena *arena)
{
    struct block *kept = NULL, *next;

    run_deferred(arena);
    for (struct block *block = arena->blocks; block != NULL; block = next) {
        next = block->next;
        if (kept == NULL && BLOCK_SIZE > 0 && block->size == BLOCK_SIZE) {
            kept = block;
            kept->used = 0;
            kept->next = NULL;
        } else {
            block_free(block);
        }
    }
    arena->blocks = kept;
}

void arena_free(struct arena *arena)
{
    struct block *next;

    if (arena == NULL)
        return;
    run_deferred(arena);
    for (struct block *block = arena->blocks; block != NULL; block = next) {
        next = block->next;
        block_free(block);
    }
    free(arena);
}

static void *take(struct block *block, size_t size)
{
    void *memory = block->data + block->used;

    block->used += size;
    memset(memory, 0, size);
    return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t alignment = alignof(max_align_t);
    struct block *first = arena->blocks, *block;
    size_t wanted = size > 0 ? size : 1;

    if (BLOCK_SIZE > 0) {
        if (wanted > SIZE_MAX - alignment)
            too_large();
        wanted = (wanted + alignment - 1) / alignment * alignment;
    }
    if (first != NULL && first->size - first->used >= wanted)
        return take(first, wanted);
    if (first != NULL && wanted > BLOCK_SIZE / 4) {
        /* Stands behind the first block, whose rest stays in use. */
        block = block_new(wanted);
        block->next = first->next;
        first->next = block;
    } else {
        block = block_new(wanted > BLOCK_SIZE ? wanted : BLOCK_SIZE);
        block->next = first;
        arena->blocks = block;
    }
    return take(block, wanted);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        too_large();
    return arena_alloc(arena, count * size);
}

static char *copy(struct arena *arena, const char *data, size_t len)
{
    char *memory;

    if (len == SIZE_MAX)
        too_large();
    memory = arena_alloc(arena, len + 1);
    if (len > 0)
        memcpy(memory, data, len);
    return memory;
}

struct text arena_text(struct arena *arena, struct text text)
{
    if (text.data == NULL)
        return TEXT_NONE;
    return (struct text){copy(arena, text.data, text.len), text.len};
}

char *arena_string(struct arena *arena, const char *string)
{
    return copy(arena, string, strlen(string));
}

char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    char *memory;
    int len;

    va_copy(again, arguments);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0) {
        fputs("a text cannot be formatted\n", stderr);
        abort();
    }
    memory = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(memory, (size_t)len + 1, format, arguments);
    return memory;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    char *memory;

    va_start(arguments, format);
    memory = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return memory;
}

void arena_defer(struct arena *arena, void (*release)(void *resource), void *resource)
{
    struct deferred *deferred = arena_alloc(arena, sizeof(*deferred));

    deferred->release = release;
    deferred->resource = resource;
    deferred->next = arena->deferred;
    arena->deferred = deferred;
}
