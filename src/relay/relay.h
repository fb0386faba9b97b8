/* SPDX-License-Identifier: MIT
 *
 * The relay: the sessions of a host are processes of their own, each with a call to the database
 * now and then; here those that come together are made one call, so that they share its parse, its
 * round trip and its commit. It decides nothing and keeps nothing: a call that was given to it is
 * as good as one given to a pooler, and when it dies its callers learn that the outcome is in
 * doubt, and call directly until it is back.
 *
 * Nobody waits for company: a call goes out when a lane is free, and takes with it what has come
 * meanwhile. Who calls often and has hardly any company calls directly, as long as it has none,
 * and is counted here meanwhile. And nobody waits for somebody's else trouble, or not for long:
 * what does not get done in time as one is done one by one, in lanes of its own.
 *
 *   main.c    argv, signals, the socket, the loop
 *   client.c  bytes to calls, answers to bytes
 *   lane.c    lines of calls, and the connections that take them away
 */
#ifndef OPENCLAW_RELAY_RELAY_H
#define OPENCLAW_RELAY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/option.h"
#include "base/shared.h"
#include "db/merge.h"

#define CLIENTS_MAX     4096
#define INPUT_BYTES_MAX ((size_t)256 * 1024 * 1024) /* of all calls that are here */
#define STUCK_MS        30000 /* who does not take an answer, or end a call, for so long is gone */
#define STALE_MS        100   /* after so long it is looked again who is still there */
#define HANDED_BACK_MS  500   /* who has waited so long behind others calls directly */
#define TOGETHER_MS     1000 /* what several are in, or what others wait behind, may take so long */
#define SLOW_MS         250  /* who took longer alone stays alone */
#define SLOW_FOR_MS     10000 /* for so long */
#define ALONE_MAX       4     /* so few have nothing to share */
#define FREQUENT_MS     250   /* between the calls of one who calls often */
#define FREQUENT_CALLS  64    /* of them: a connection of its own is worth its price */

/* ---- clients ------------------------------------------------------------------------------------
 */

enum client_state {
    CLIENT_READING,
    CLIENT_WAITING, /* in a line */
    CLIENT_RUNNING, /* in a lane */
};

struct client {
    int fd;         /* -1: gone */
    bool forgotten; /* it is freed when its call is done */
    enum client_state state;
    struct buffer in, out;
    struct db_call call; /* points into `in` */
    struct client *next; /* in its line or lane */
    int64_t since;    /* clock_ms: when it began its call, came into its line, or got its answer */
    int64_t alive_at; /* when to say next that we are */
    int64_t alone_until; /* it held up others */
    int64_t called_at;
    unsigned calls; /* one soon after the other */
    bool sent_off;  /* it calls directly, until its socket is closed */
};

struct client *client_new(int fd);
void client_free(struct client *client);
void client_close(struct client *client);
/* Tells it that nothing was done, and closes it. */
void client_dismiss(struct client *client, enum answer_kind kind);
/* Reads what is there, a call of `room` bytes at most. True: it is complete, and is to be put in a
 * line. An end or a fault closes it. */
bool client_read(struct client *client, size_t room);
/* With its next answer it is told to call directly: one process less for each call. */
void client_send_off(struct client *client);
/* Writes what can be written now. */
void client_write(struct client *client);
/* The answers; then it may ask again. To one that is gone they do nothing. */
void client_answer_rows(struct client *client, const struct db_rows *rows,
                        const struct rows_part *part);
void client_answer_failure(struct client *client, const struct failure *failure);
/* Says that we live, where it has waited for long. */
void client_reassure(struct client *client, int64_t now);

/* ---- lines and lanes
 * ------------------------------------------------------------------------------ */

enum line_kind {
    LINE_TOGETHER, /* calls that can be joined; it has lanes of its own */
    LINE_ALONE, /* those of them that are better alone; never in more than half of the other lanes
                 */
    LINE_OTHERS,
    LINE__MAX
};

struct line {
    struct client *first, **last;
};

struct lane {
    bool together;       /* of LINE_TOGETHER */
    enum line_kind line; /* from which its calls came */
    struct db *db;
    struct arena *arena;
    struct client *clients; /* whose calls are on the way, in order; NULL: it is free */
    struct merge *merge;    /* NULL: there is one call */
    struct db_call call;
    int64_t since;
};

struct lanes {
    struct line lines[LINE__MAX];
    struct lane *all;
    size_t count, together;
    int64_t timeout_ms;
    size_t company; /* clients that are here */
    bool put_off;   /* a call could have been started, but it was long ago that we looked */
    shared_word *came, *went; /* calls: from clients, to the database */
};

void lanes_open(struct lanes *lanes, const struct options *options);
void lanes_close(struct lanes *lanes);
/* Puts a client with a call in its line. */
void lanes_add(struct lanes *lanes, struct client *client, int64_t now);
/* A client that is gone: it is taken out of its line and freed, or will be when its call is done.
 */
void lanes_forget(struct lanes *lanes, struct client *client);
/* Goes on with what is under way, answers what is done, and starts what can be. */
void lanes_advance(struct lanes *lanes, int64_t now);
/* When to do so at the latest, whatever poll(2) says: clock_ms, or INT64_MAX. */
int64_t lanes_deadline(const struct lanes *lanes);
bool lanes_busy(const struct lanes *lanes);

#endif
