/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/uuid.h"

#define LIMITER_SLOTS 8192 /* powers of two */
#define LIMITER_WAYS  4
#define SEEN_SLOTS    4096
#define MINUTE_MS     60000
#define DAY_MS        86400000
#define TIME_BITS     44 /* milliseconds since 1970, for centuries; the rest of a word is a tag */
#define TIME_MASK     (((uint64_t)1 << TIME_BITS) - 1)

struct counter {
    shared_word
        hash; /* of its name: 64 bits stand for it, so that one write makes a counter; 0: free */
    shared_word value;
};

struct segment {
    shared_word key; /* so that nobody outside can choose who shares a place with whom */
    struct counter counters[COUNTERS_MAX];
    shared_word limits[LIMITER_SLOTS];
    shared_word seen[SEEN_SLOTS];
    struct worker_state workers[WORKERS_SHOWN_MAX];
};

/* The layout is part of the name: an older program goes on with the file it has. */
#define FILE_NAME "shared.2"

static struct segment *segment;

static struct segment *segment_get(void)
{
    if (segment == NULL) {
        segment =
            mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (segment == MAP_FAILED)
            abort();
    }
    return segment;
}

static uint64_t segment_key(void)
{
    uint64_t none = 0, key;

    if (atomic_load(&segment_get()->key) == 0) {
        random_bytes(&key, sizeof(key));
        (void)atomic_compare_exchange_strong(&segment->key, &none, key | 1);
    }
    return atomic_load(&segment->key);
}

/* The file, at its full length; -1 and errno. One of another length is not ours, and goes. */
static int file_open(const char *path)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
        struct stat status;

        if (fd < 0)
            return -1;
        if (fstat(fd, &status) == 0 &&
            (status.st_size == (off_t)sizeof(struct segment) ||
             (status.st_size == 0 && ftruncate(fd, (off_t)sizeof(struct segment)) == 0)))
            return fd;
        (void)close(fd);
        (void)unlink(path);
    }
    errno = EIO;
    return -1;
}

enum error shared_open(const char *runtime_dir, struct failure *failure)
{
    char path[256];
    void *mapped;
    int fd;
    int len = snprintf(path, sizeof(path), "%s/" FILE_NAME, runtime_dir);

    if (len < 0 || (size_t)len >= sizeof(path))
        return failure_set(failure, ERR_CONFIG, "RUNTIME_DIR is too long: %.80s…", runtime_dir);
    if (mkdir(runtime_dir, 0700) < 0 && errno != EEXIST)
        return failure_set(failure, ERR_IO, "cannot make the directory %s: %s", runtime_dir,
                           strerror(errno));
    if ((fd = file_open(path)) < 0)
        return failure_set(failure, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    mapped = mmap(NULL, sizeof(*segment), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (mapped == MAP_FAILED)
        return failure_set(failure, ERR_IO, "cannot map %s: %s", path, strerror(errno));
    segment = mapped;
    return OK;
}

/* FNV-1a, begun with the key, and stirred: no place is chosen by whoever chooses the text. */
static uint64_t hash_of(struct text text)
{
    uint64_t hash = 0xcbf29ce484222325 ^ segment_key();

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 0x100000001b3;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93;
    return hash ^ hash >> 29;
}

/* ---- counters ------------------------------------------------------------------------------- */

/* The counter of this name, or the free place that it would have; NULL where neither is left. */
static struct counter *counter_find(const char *name, uint64_t *ret_hash)
{
    uint64_t hash = hash_of(text_of(name));

    hash += hash == 0;
    *ret_hash = hash;
    for (size_t i = 0; i < COUNTERS_MAX; i++) {
        struct counter *counter = &segment_get()->counters[(hash + i) % COUNTERS_MAX];
        uint64_t found = atomic_load(&counter->hash);

        if (found == hash || found == 0)
            return counter;
    }
    return NULL;
}

shared_word *counter_of(const char *name)
{
    static shared_word nowhere;
    struct counter *counter;
    uint64_t hash, none;

    if (strlen(name) > COUNTER_NAME_MAX)
        return &nowhere;
    do {
        none = 0;
        counter = counter_find(name, &hash);
        if (counter == NULL)
            return &nowhere;
    } while (!atomic_compare_exchange_strong(&counter->hash, &none, hash) && none != hash);
    return &counter->value;
}

uint64_t counter_read(const char *name)
{
    uint64_t hash;
    struct counter *counter = counter_find(name, &hash);

    return counter != NULL && atomic_load(&counter->hash) == hash ? atomic_load(&counter->value)
                                                                  : 0;
}

/* ---- how often somebody may try -------------------------------------------------------------- */

/* The place of this key, or the one whose time matters least; its word as it was read. */
static shared_word *limit_find(uint64_t hash, uint64_t *ret_word)
{
    size_t set = hash % (LIMITER_SLOTS / LIMITER_WAYS) * LIMITER_WAYS;
    uint64_t tag = hash >> TIME_BITS, best = UINT64_MAX;
    shared_word *found = &segment->limits[set];

    for (size_t i = 0; i < LIMITER_WAYS; i++) {
        shared_word *slot = &segment->limits[set + i];
        uint64_t word = atomic_load(slot);

        if (word >> TIME_BITS == tag && word != 0) {
            *ret_word = word;
            return slot;
        }
        if ((word & TIME_MASK) < best) {
            best = word & TIME_MASK;
            found = slot;
            *ret_word = word;
        }
    }
    return found;
}

/* Until when the attempts counted so far reach. A clock that was set back must not punish. */
static int64_t limit_until(uint64_t word, uint64_t tag, int64_t now)
{
    int64_t until = (int64_t)(word & TIME_MASK);

    return word >> TIME_BITS != tag || until < now || until > now + 2 * MINUTE_MS ? now : until;
}

int64_t limiter_wait_ms(struct text key, int64_t per_minute)
{
    uint64_t hash = hash_of(key), word = 0;
    int64_t now = clock_wall_ms(), ahead;

    if (per_minute <= 0)
        return 0;
    (void)limit_find(hash, &word);
    ahead = limit_until(word, hash >> TIME_BITS, now) - now;
    return ahead > MINUTE_MS - MINUTE_MS / per_minute ? ahead - (MINUTE_MS - MINUTE_MS / per_minute)
                                                      : 0;
}

void limiter_count(struct text key, int64_t per_minute)
{
    uint64_t hash = hash_of(key), word = 0, next;
    int64_t now = clock_wall_ms(), until;
    shared_word *slot;

    if (per_minute <= 0)
        return;
    do {
        slot = limit_find(hash, &word);
        until = limit_until(word, hash >> TIME_BITS, now) + MINUTE_MS / per_minute;
        if (until > now + MINUTE_MS)
            until = now + MINUTE_MS; /* who goes on trying waits no longer than a minute */
        next = (hash >> TIME_BITS) << TIME_BITS | ((uint64_t)until & TIME_MASK);
    } while (!atomic_compare_exchange_weak(slot, &word, next));
}

bool seen_lately(struct text key)
{
    uint64_t hash = hash_of(key);
    uint64_t word = atomic_load(&segment->seen[hash % SEEN_SLOTS]);
    int64_t age = clock_wall_ms() - (int64_t)(word & TIME_MASK);

    return word >> TIME_BITS == hash >> TIME_BITS && age >= 0 && age < DAY_MS;
}

void seen_now(struct text key)
{
    uint64_t hash = hash_of(key);

    atomic_store(&segment->seen[hash % SEEN_SLOTS],
                 (hash >> TIME_BITS) << TIME_BITS | ((uint64_t)clock_wall_ms() & TIME_MASK));
}

/* ---- what the processes of a kind are doing ---------------------------------------------------
 */

static bool lives(uint64_t pid)
{
    return pid != 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

struct worker_state *worker_state_take(void)
{
    static struct worker_state nowhere;
    uint64_t self = (uint64_t)getpid();

    for (size_t i = 0; i < WORKERS_SHOWN_MAX; i++) {
        struct worker_state *state = &segment_get()->workers[i];
        uint64_t pid = atomic_load(&state->pid);

        if (lives(pid) || !atomic_compare_exchange_strong(&state->pid, &pid, self))
            continue;
        atomic_store(&state->threads, 0);
        atomic_store(&state->threads_busy, 0);
        atomic_store(&state->connections, 0);
        atomic_store(&state->connections_busy, 0);
        atomic_store(&state->waiting, 0);
        return state;
    }
    return &nowhere;
}

void worker_state_sum(struct worker_state *ret_sum)
{
    *ret_sum = (struct worker_state){0};
    for (size_t i = 0; i < WORKERS_SHOWN_MAX; i++) {
        struct worker_state *state = &segment_get()->workers[i];

        if (!lives(atomic_load(&state->pid)))
            continue;
        ret_sum->pid += 1;
        ret_sum->threads += state->threads;
        ret_sum->threads_busy += state->threads_busy;
        ret_sum->connections += state->connections;
        ret_sum->connections_busy += state->connections_busy;
        ret_sum->waiting += state->waiting;
    }
}
