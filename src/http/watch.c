/* SPDX-License-Identifier: MIT */
#include "http/watch.h"

#include <stdlib.h>
#include <string.h>

#include "db/statement.h"

#define WATCH_KEPT_MS    10000 /* after the last request */
#define WATCH_REFRESH_MS 5000  /* while requests wait: somebody may have buried this executor */

struct watch {
    struct watch *next;
    char agent[AGENT_ID_MAX + 1];
    unsigned waiters;
    bool rung;      /* the database knows it */
    bool asked;     /* by the call that runs */
    bool dropping;  /* likewise, to be forgotten */
    int64_t due_at; /* of the next call about it */
};

struct watch *watch_enter(struct watches *watches, struct text agent, int64_t now_ms,
                          bool *ret_rung)
{
    struct watch *watch = watches->first;

    while (watch != NULL && !text_is(agent, watch->agent))
        watch = watch->next;
    if (watch == NULL) {
        watch = calloc(1, sizeof(*watch));
        if (watch == NULL || agent.len > AGENT_ID_MAX)
            abort();
        memcpy(watch->agent, agent.data, agent.len);
        watch->next = watches->first;
        watches->first = watch;
    }
    *ret_rung = watch->rung;
    if (watch->waiters++ == 0)
        watch->due_at = watch->rung ? now_ms + WATCH_REFRESH_MS : now_ms;
    return watch;
}

void watch_leave(struct watch *watch, int64_t now_ms)
{
    if (--watch->waiters == 0)
        watch->due_at = now_ms + WATCH_KEPT_MS;
}

int64_t watches_due(const struct watches *watches)
{
    int64_t due = INT64_MAX;

    for (const struct watch *watch = watches->first; watch != NULL; watch = watch->next)
        due = watch->due_at < due ? watch->due_at : due;
    return due;
}

bool watches_call(struct watches *watches, struct arena *arena, const char *executor_id,
                  int64_t now_ms, struct db_call *ret_call)
{
    struct text *wanted, *dropped;
    size_t count = 0, wanted_count = 0, dropped_count = 0;

    for (const struct watch *watch = watches->first; watch != NULL; watch = watch->next)
        count += watch->due_at <= now_ms;
    if (count == 0)
        return false;
    wanted = arena_array(arena, count, sizeof(*wanted));
    dropped = arena_array(arena, count, sizeof(*dropped));
    for (struct watch *watch = watches->first; watch != NULL; watch = watch->next) {
        struct text agent;

        watch->asked = watch->due_at <= now_ms;
        if (!watch->asked)
            continue;
        agent = arena_text(arena, text_of(watch->agent));
        watch->dropping = watch->waiters == 0;
        watch->due_at = now_ms + WATCH_REFRESH_MS;
        if (watch->dropping)
            dropped[dropped_count++] = agent;
        else
            wanted[wanted_count++] = agent;
    }
    db_call_init(ret_call, arena, STATEMENT_INBOX_WATCH);
    db_add_string(ret_call, executor_id);
    db_add_texts(ret_call, wanted, wanted_count);
    db_add_texts(ret_call, dropped, dropped_count);
    return true;
}

static bool is_among(struct db_rows *rows, const char *agent)
{
    for (size_t row = 0; rows != NULL && row < db_rows_count(rows); row++) {
        if (text_is(db_text(rows, row, 0), agent))
            return true;
    }
    return false;
}

void watches_result(struct watches *watches, struct db_rows *rows, int64_t now_ms)
{
    struct watch **link = &watches->first;

    while (*link != NULL) {
        struct watch *watch = *link;
        bool gone = false;

        if (watch->asked && watch->dropping) {
            gone = rows != NULL && watch->waiters == 0;
            watch->rung = false;
            if (!gone && watch->waiters > 0)
                watch->due_at = now_ms; /* somebody came meanwhile */
        } else if (watch->asked) {
            watch->rung = is_among(rows, watch->agent);
        }
        watch->asked = watch->dropping = false;
        if (gone) {
            *link = watch->next;
            free(watch);
        } else {
            link = &watch->next;
        }
    }
}
