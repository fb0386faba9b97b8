/* SPDX-License-Identifier: MIT */
#include "relay/relay.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define TOGETHER_LANES 2 /* one is prepared while the other commits */
#define STATE_CANCELED "57014"

/* ---- lines --------------------------------------------------------------------------------------
 */

static void line_init(struct line *line)
{
    line->first = NULL;
    line->last = &line->first;
}

static void line_add(struct line *line, struct client *client, int64_t now)
{
    client->state = CLIENT_WAITING;
    client->since = now;
    client->next = NULL;
    *line->last = client;
    line->last = &client->next;
}

static bool line_remove(struct line *line, struct client *client)
{
    for (struct client **at = &line->first; *at != NULL; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            if (line->last == &client->next)
                line->last = at;
            client->next = NULL;
            return true;
        }
    return false;
}

void lanes_add(struct lanes *lanes, struct client *client, int64_t now)
{
    enum line_kind line = LINE_OTHERS;

    if (merge_can_begin(&client->call))
        line = now < client->alone_until ? LINE_ALONE : LINE_TOGETHER;
    client->alive_at = now + RELAY_ALIVE_MS;
    client->calls = now < client->called_at + FREQUENT_MS ? client->calls + 1 : 1;
    client->called_at = now;
    counter_add(lanes->came, 1);
    line_add(&lanes->lines[line], client, now);
}

void lanes_forget(struct lanes *lanes, struct client *client)
{
    if (client->state == CLIENT_RUNNING) {
        client->forgotten = true;
        return;
    }
    for (size_t i = 0; i < LINE__MAX; i++)
        if (line_remove(&lanes->lines[i], client))
            break;
    client_free(client);
}

/* Those in front have been joined if that was possible, so what waits behind them is too much for
 * the database; elsewhere it may be others who hold it up. */
static int64_t patience(const struct lanes *lanes, enum line_kind line)
{
    return line == LINE_TOGETHER || lanes->timeout_ms < HANDED_BACK_MS ? lanes->timeout_ms
                                                                       : HANDED_BACK_MS;
}

/* Who has waited for too long calls directly; nothing was done. */
static void hand_back(struct lanes *lanes, enum line_kind kind, int64_t now)
{
    struct line *line = &lanes->lines[kind];

    while (line->first != NULL && now >= line->first->since + patience(lanes, kind)) {
        struct client *client = line->first;

        (void)line_remove(line, client);
        client->state = CLIENT_READING;
        client_dismiss(client, ANSWER_BUSY);
    }
}

/* ---- starting
 * ------------------------------------------------------------------------------------- */

static struct client *take_first(struct line *line)
{
    struct client *client = line->first;

    (void)line_remove(line, client);
    client->state = CLIENT_RUNNING;
    return client;
}

/* All of the line that can be one call with its first. */
static void take_together(struct lane *lane, struct line *line)
{
    struct client *first = take_first(line), **end = &first->next;

    lane->clients = first;
    lane->merge = NULL;
    for (struct client *each = line->first, *next; each != NULL; each = next) {
        next = each->next;
        if (lane->merge == NULL)
            lane->merge = merge_new(lane->arena, &first->call);
        if (!merge_add(lane->merge, &each->call))
            continue;
        (void)line_remove(line, each);
        each->state = CLIENT_RUNNING;
        *end = each;
        end = &each->next;
    }
    if (first->next == NULL)
        lane->merge = NULL;
}

static void start_lane(struct lanes *lanes, struct lane *lane, enum line_kind line, int64_t now)
{
    int64_t timeout_ms = lanes->timeout_ms;

    lane->line = line;
    lane->since = now;
    if (line == LINE_TOGETHER) {
        take_together(lane, &lanes->lines[line]);
        if (timeout_ms > TOGETHER_MS)
            timeout_ms = TOGETHER_MS;
    } else {
        lane->clients = take_first(&lanes->lines[line]);
        lane->merge = NULL;
    }
    if (lane->merge != NULL) {
        merge_call(lane->merge, &lane->call);
    } else {
        lane->call = lane->clients->call;
        lane->call.arena = lane->arena;
    }
    counter_add(lanes->went, 1);
    db_start_within(lane->db, &lane->call, timeout_ms);
}

static size_t lanes_running(const struct lanes *lanes, enum line_kind line)
{
    size_t count = 0;

    for (size_t i = 0; i < lanes->count; i++)
        count += lanes->all[i].clients != NULL && lanes->all[i].line == line;
    return count;
}

/* The line from which a free lane is served, or LINE__MAX. */
static enum line_kind next_line(const struct lanes *lanes, const struct lane *lane)
{
    size_t others = lanes->count - lanes->together;

    if (lane->together)
        return lanes->lines[LINE_TOGETHER].first != NULL ? LINE_TOGETHER : LINE__MAX;
    if (lanes->lines[LINE_ALONE].first != NULL &&
        lanes_running(lanes, LINE_ALONE) < (others + 1) / 2)
        return LINE_ALONE;
    return lanes->lines[LINE_OTHERS].first != NULL ? LINE_OTHERS : LINE__MAX;
}

/* ---- the end of a call
 * ---------------------------------------------------------------------------- */

static void answer_alone(const struct lanes *lanes, struct client *client,
                         const struct db_rows *rows)
{
    if (lanes->company <= ALONE_MAX && client->calls >= FREQUENT_CALLS)
        client_send_off(client);
    client_answer_rows(client, rows, NULL);
}

/* One that has gone only now, while it was answered, is yet to be forgotten. */
static void release(struct client *client)
{
    if (client->forgotten)
        client_free(client);
}

/* Each by itself: it was refused for a reason that may lie in one of them, or took too long. Both
 * say that nothing was done. */
static bool is_better_alone(enum error error, const struct failure *failure)
{
    return error_retry(error) == RETRY_NEVER || error == ERR_SERIALIZATION ||
           (error == ERR_UNAVAILABLE && strcmp(failure->sqlstate, STATE_CANCELED) == 0);
}

static void end_together(struct lanes *lanes, struct lane *lane, enum error error,
                         struct failure *failure, struct db_rows *rows, int64_t now)
{
    bool several = lane->merge != NULL;
    bool timed_out = error == ERR_UNAVAILABLE && strcmp(failure->sqlstate, STATE_CANCELED) == 0;
    size_t index = 0;

    if (error == OK && several)
        error = merge_split(lane->merge, rows, failure);
    for (struct client *client = lane->clients, *next; client != NULL; client = next, index++) {
        next = client->next;
        if (client->fd >= 0 && error != OK && (several || timed_out) &&
            is_better_alone(error, failure)) {
            line_add(&lanes->lines[LINE_ALONE], client, now);
            continue;
        }
        if (error != OK) {
            client_answer_failure(client, failure);
        } else if (several) {
            struct rows_part part = merge_part(lane->merge, index);

            client_answer_rows(client, rows, &part);
        } else {
            answer_alone(lanes, client, rows);
        }
        release(client);
    }
}

static void end_single(const struct lanes *lanes, struct lane *lane, enum error error,
                       const struct failure *failure, const struct db_rows *rows, int64_t now)
{
    struct client *client = lane->clients;

    if (lane->line == LINE_ALONE)
        client->alone_until = now - lane->since > SLOW_MS ? now + SLOW_FOR_MS : 0;
    if (error == OK)
        answer_alone(lanes, client, rows);
    else
        client_answer_failure(client, failure);
    release(client);
}

/* True: it is free now. */
static bool advance_lane(struct lanes *lanes, struct lane *lane, int64_t now)
{
    struct failure failure = {.error = OK};
    struct db_rows *rows = NULL;
    enum error error = OK;

    if (!db_advance(lane->db, &failure, &error, &rows))
        return false;
    if (lane->line == LINE_TOGETHER)
        end_together(lanes, lane, error, &failure, rows, now);
    else
        end_single(lanes, lane, error, &failure, rows, now);
    lane->clients = NULL;
    arena_reset(lane->arena);
    return true;
}

/* ---- all
 * ------------------------------------------------------------------------------------------ */

void lanes_open(struct lanes *lanes, const struct options *options)
{
    lanes->count = (size_t)options->relay_pool_size;
    lanes->together = lanes->count > TOGETHER_LANES ? TOGETHER_LANES : 1;
    lanes->timeout_ms = options->db_timeout_ms;
    lanes->came = counter_of("relay_calls");
    lanes->went = counter_of("relay_database_calls");
    lanes->all = calloc(lanes->count, sizeof *lanes->all);
    if (lanes->all == NULL)
        abort();
    for (size_t i = 0; i < LINE__MAX; i++)
        line_init(&lanes->lines[i]);
    for (size_t i = 0; i < lanes->count; i++) {
        lanes->all[i].together = i < lanes->together;
        lanes->all[i].db = db_new(DB_POOLED);
        lanes->all[i].arena = arena_new();
    }
}

void lanes_close(struct lanes *lanes)
{
    for (size_t i = 0; i < lanes->count; i++) {
        db_free(lanes->all[i].db);
        arena_free(lanes->all[i].arena);
    }
    free(lanes->all);
}

void lanes_advance(struct lanes *lanes, int64_t now)
{
    lanes->put_off = false;
    for (enum line_kind line = 0; line < LINE__MAX; line++)
        hand_back(lanes, line, now);
    for (size_t i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->all[i];
        enum line_kind line;

        if (lane->clients != NULL && !advance_lane(lanes, lane, now))
            continue;
        line = next_line(lanes, lane);
        if (line == LINE__MAX)
            continue;
        if (clock_ms() - now > STALE_MS)
            lanes->put_off = true; /* stopped meanwhile: some may have gone */
        else
            start_lane(lanes, lane, line, now);
    }
}

int64_t lanes_deadline(const struct lanes *lanes)
{
    int64_t deadline = lanes->put_off ? 0 : INT64_MAX;

    for (enum line_kind line = 0; line < LINE__MAX; line++) {
        const struct client *first = lanes->lines[line].first;

        if (first != NULL && first->since + patience(lanes, line) < deadline)
            deadline = first->since + patience(lanes, line);
    }
    for (size_t i = 0; i < lanes->count; i++)
        if (lanes->all[i].clients != NULL && db_poll_deadline(lanes->all[i].db) < deadline)
            deadline = db_poll_deadline(lanes->all[i].db);
    return deadline;
}

bool lanes_busy(const struct lanes *lanes)
{
    for (size_t i = 0; i < LINE__MAX; i++)
        if (lanes->lines[i].first != NULL)
            return true;
    for (size_t i = 0; i < lanes->count; i++)
        if (lanes->all[i].clients != NULL)
            return true;
    return false;
}
