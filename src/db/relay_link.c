/* SPDX-License-Identifier: MIT
 *
 * The caller's end of the relay: one call at a time, without blocking. Whatever is wrong with the
 * relay costs time and nothing else: a call that it cannot have run goes to the database directly,
 * and of one that it may have run the outcome is in doubt, as when a connection to the database is
 * lost.
 */
#define _GNU_SOURCE /* SOCK_NONBLOCK, SOCK_CLOEXEC */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "db/internal.h"
#include "db/wire.h"

#define READ_SIZE     16384
#define AWAY_MS       1000   /* it was not there, or has no place for us now */
#define STANDSTILL_MS 30000  /* it stands still: stopped, or on a machine that does not get on */
#define OTHER_MS      300000 /* it is of another build: somebody is upgrading */

enum link_phase { LINK_IDLE, LINK_WAITING, LINK_DONE, LINK_UNUSED };

struct relay_link {
    int fd; /* -1: closed */
    enum link_phase phase;
    struct buffer out, in;
    bool sent;             /* the call, wholly */
    bool sent_off;         /* calls go directly while it is open */
    int64_t silent_until;  /* then it stands still */
    int64_t avoided_until; /* calls go directly */
    const struct db_call *call;
    struct db_rows *rows;
    struct failure failure; /* error OK: rows */
};

struct relay_link *relay_link_new(void)
{
    struct relay_link *link = calloc(1, sizeof *link);

    if (!link)
        abort();
    link->fd = -1;
    buffer_init(&link->out, WIRE_CALL_MAX);
    buffer_init(&link->in, WIRE_CALL_MAX);
    return link;
}

void relay_link_close(struct relay_link *link)
{
    if (link->fd >= 0)
        (void)close(link->fd);
    link->fd = -1;
    link->sent_off = false;
    link->phase = LINK_IDLE;
    buffer_release(&link->out);
    buffer_release(&link->in);
}

void relay_link_free(struct relay_link *link)
{
    if (!link)
        return;
    relay_link_close(link);
    free(link);
}

bool relay_link_is_open(const struct relay_link *link)
{
    return link->fd >= 0;
}

bool relay_link_busy(const struct relay_link *link)
{
    return link->phase != LINK_IDLE;
}

static void avoid(struct relay_link *link, int64_t ms)
{
    relay_link_close(link);
    link->avoided_until = clock_ms() + ms;
}

static bool open_link(struct relay_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!relay_address(db_settings()->runtime_dir, &address))
        return false;
    link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return link->fd >= 0 &&
           connect(link->fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

/* Nobody asked it anything; what it says or ends then is its end. */
static bool is_stale(const struct relay_link *link)
{
    struct pollfd fd = {.fd = link->fd, .events = POLLIN};

    return poll(&fd, 1, 0) != 0;
}

bool relay_link_start(struct relay_link *link, const struct db_call *call)
{
    int64_t now = clock_ms();

    if (now < link->avoided_until)
        return false;
    if (link->fd >= 0 && is_stale(link))
        relay_link_close(link);
    if (link->sent_off)
        return false;
    if (link->fd < 0 && !open_link(link)) {
        avoid(link, AWAY_MS);
        return false;
    }
    buffer_clear(&link->in);
    wire_put_call(&link->out, call);
    if (link->out.overflowed) {
        relay_link_close(link);
        return false;
    }
    FAULT_POINT("db.send");
    link->phase = LINK_WAITING;
    link->call = call;
    link->sent = false;
    link->silent_until = now + RELAY_SILENCE_MS;
    return true;
}

int relay_link_fd(const struct relay_link *link)
{
    return link->phase == LINK_WAITING ? link->fd : -1;
}

short relay_link_events(const struct relay_link *link)
{
    return (short)(link->sent ? POLLIN : POLLIN | POLLOUT);
}

int64_t relay_link_deadline(const struct relay_link *link)
{
    return link->phase == LINK_WAITING ? link->silent_until : clock_ms();
}

/* The relay is lost. What it cannot have done is done directly. */
static void lose(struct relay_link *link, const char *why, int64_t avoid_ms)
{
    const struct statement_info *info = &statement_infos[link->call->statement];
    bool in_doubt = link->sent && !info->reads_only;

    avoid(link, avoid_ms);
    link->phase = in_doubt ? LINK_DONE : LINK_UNUSED;
    failure_set(&link->failure, ERR_IN_DOUBT, "%s: the relay %s", info->name, why);
}

static void take_answer(struct relay_link *link, struct text frame)
{
    switch (wire_get_kind(frame)) {
    case ANSWER_ALIVE:
        link->silent_until = clock_ms() + RELAY_SILENCE_MS;
        break;
    case ANSWER_DIRECT:
        link->sent_off = true;
        break;
    case ANSWER_ROWS:
        link->failure = (struct failure){.error = OK};
        link->rows = wire_get_rows(frame, link->call);
        link->phase = LINK_DONE;
        if (!link->rows)
            lose(link, "gave an answer that cannot be read", STANDSTILL_MS);
        break;
    case ANSWER_FAILURE:
        link->phase = LINK_DONE;
        if (!wire_get_failure(frame, &link->failure))
            lose(link, "gave an answer that cannot be read", STANDSTILL_MS);
        break;
    case ANSWER_OTHER_BUILD:
        avoid(link, OTHER_MS);
        link->phase = LINK_UNUSED;
        break;
    case ANSWER_BUSY:
        avoid(link, AWAY_MS);
        link->phase = LINK_UNUSED;
        break;
    }
}

static void send_call(struct relay_link *link)
{
    while (link->out.len > 0) {
        ssize_t put = send(link->fd, link->out.data, link->out.len, MSG_NOSIGNAL);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return; /* an error is told by reading */
        buffer_consume(&link->out, (size_t)put);
    }
    if (!link->sent)
        FAULT_POINT("db.sent");
    link->sent = true;
}

static void read_answers(struct relay_link *link)
{
    char bytes[READ_SIZE];

    while (link->phase == LINK_WAITING) {
        ssize_t got = recv(link->fd, bytes, sizeof bytes, 0);
        size_t frame;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            lose(link, "went away before it answered", AWAY_MS); /* it may have been this call */
            return;
        }
        buffer_append(&link->in, (struct text){bytes, (size_t)got});
        while (link->phase == LINK_WAITING && (frame = wire_frame(buffer_text(&link->in))) > 0) {
            take_answer(link, (struct text){link->in.data, frame});
            buffer_consume(&link->in, frame);
        }
        if (link->in.overflowed)
            lose(link, "gave an answer that is too large", STANDSTILL_MS);
    }
}

enum relay_outcome relay_link_advance(struct relay_link *link, enum error *ret_error,
                                      struct failure *failure, struct db_rows **ret_rows)
{
    if (link->phase == LINK_WAITING)
        send_call(link);
    if (link->phase == LINK_WAITING)
        read_answers(link);
    if (link->phase == LINK_WAITING && clock_ms() >= link->silent_until)
        lose(link, "stands still", STANDSTILL_MS);
    if (link->phase == LINK_WAITING)
        return RELAY_BUSY;
    if (link->phase == LINK_UNUSED) {
        link->phase = LINK_IDLE;
        return RELAY_UNUSED;
    }
    FAULT_POINT("db.answer");
    link->phase = LINK_IDLE;
    *ret_error = link->failure.error;
    if (link->failure.error != OK && failure)
        *failure = link->failure;
    else if (link->failure.error == OK && ret_rows)
        *ret_rows = link->rows;
    return RELAY_ANSWERED;
}
