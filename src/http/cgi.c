/* SPDX-License-Identifier: MIT */
#include "http/cgi.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "http/exchange.h"
#include "http/listener.h"
#include "http/server.h"
#include "http/waiting_room.h"

/* A web server that neither gives nor takes for so long is gone, or stopped. */
#define PEER_TIMEOUT_MS 30000

struct cgi {
    struct arena *arena;
    int64_t body_left; /* a server need not end what it says the length of: RFC 3875, 4.2 */
};

bool cgi_asked(void)
{
    const char *interface = getenv("GATEWAY_INTERFACE");
    const char *method = getenv("REQUEST_METHOD");

    return interface != NULL && strncmp(interface, "CGI/", 4) == 0 && method != NULL &&
           method[0] != '\0' && !listener_is_inherited();
}

/* The address without the name under which the web server knows us. */
static const char *address(struct arena *arena)
{
    const char *target = getenv("REQUEST_URI");
    const char *script = getenv("SCRIPT_NAME");
    size_t len = script != NULL ? strlen(script) : 0;

    if (target == NULL || len == 0 || strncmp(target, script, len) != 0)
        return target;
    target += len;
    if (target[0] == '/')
        return target;
    return target[0] == '\0' || target[0] == '?' ? arena_printf(arena, "/%s", target)
                                                 : target - len;
}

static const char *variable(void *context, const char *name)
{
    struct cgi *cgi = context;
    const char *value;

    if (strcmp(name, "REQUEST_URI") == 0)
        return address(cgi->arena);
    if (strcmp(name, "SCRIPT_NAME") == 0)
        return NULL;
    value = getenv(name);
    return strcmp(name, "PATH_INFO") == 0 && (value == NULL || *value == '\0') ? "/" : value;
}

static bool wait_for(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    int ready;

    do
        ready = poll(&poll_fd, 1, PEER_TIMEOUT_MS);
    while (ready < 0 && errno == EINTR);
    return ready == 1;
}

static ptrdiff_t read_body(void *context, char *ret_bytes, size_t size)
{
    struct cgi *cgi = context;
    ssize_t got;

    if ((uint64_t)cgi->body_left < size)
        size = (size_t)cgi->body_left;
    if (size == 0)
        return 0;
    do
        got = wait_for(STDIN_FILENO, POLLIN) ? read(STDIN_FILENO, ret_bytes, size) : -1;
    while (got < 0 && errno == EINTR);
    if (got > 0)
        cgi->body_left -= got;
    return got;
}

static bool is_gone(void *context)
{
    struct pollfd fd = {.fd = STDOUT_FILENO};

    (void)context;
    return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}

static bool put(void *context, struct text bytes)
{
    (void)context;
    /* lighttpd ends a program whose answer it has whole, and what is noted of it comes after that
     */
    (void)signal(SIGTERM, SIG_IGN);
    while (bytes.len > 0) {
        ssize_t count =
            wait_for(STDOUT_FILENO, POLLOUT) ? write(STDOUT_FILENO, bytes.data, bytes.len) : -1;

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        bytes.data += count;
        bytes.len -= (size_t)count;
    }
    return true;
}

static bool flush(void *context)
{
    (void)context;
    return true;
}

int cgi_run(const struct options *options)
{
    struct http_server server;
    struct cgi cgi = {.arena = arena_new()};
    const struct http_carrier carrier = {.context = &cgi,
                                         .variable = variable,
                                         .read_body = read_body,
                                         .is_gone = is_gone,
                                         .put = put,
                                         .flush = flush};
    const char *length = getenv("CONTENT_LENGTH");

    if (length == NULL || text_int64(text_of(length), 0, INT64_MAX, &cgi.body_left) != OK)
        cgi.body_left = 0; /* whoever reads the request says what is wrong with it */
    (void)signal(SIGPIPE, SIG_IGN);
    http_server_init(&server, options);
    waiting_room_start(server.waiting_room);
    exchange_answer(&server, &carrier, cgi.arena);
    http_server_tidy(&server);
    waiting_room_close(server.waiting_room); /* its bell is a file */
    /* _exit: the looking thread and what it holds end with the process */
    _exit(0);
}
