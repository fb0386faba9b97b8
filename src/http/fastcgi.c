/* SPDX-License-Identifier: MIT */
#include "http/fastcgi.h"

#include <fcgiapp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "http/exchange.h"

/* The web server hands over complete requests and takes answers into its own buffers: one that does
 * neither for so long is gone, or stopped. */
#define PEER_TIMEOUT_S 30
/* Of a body that nobody wants: above what the samples in deploy/ let a client send. */
#define UNWANTED_MAX ((int64_t)64 << 20)

void fastcgi_init(void)
{
    /* The library would take SIGUSR1 for an order to fail every read from then on. */
    (void)signal(SIGUSR1, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    if (FCGX_Init() != 0)
        abort();
}

static const char *variable(void *context, const char *name)
{
    return FCGX_GetParam(name, ((FCGX_Request *)context)->envp);
}

static ptrdiff_t read_body(void *context, char *ret_bytes, size_t size)
{
    FCGX_Stream *in = ((FCGX_Request *)context)->in;
    int got = FCGX_GetStr(ret_bytes, size < INT_MAX ? (int)size : INT_MAX, in);

    return got == 0 && FCGX_GetError(in) != 0 ? -1 : got;
}

/* The web server closes the connection when its client has gone; it does not half-close it. */
static bool is_gone(void *context)
{
    struct pollfd fd = {.fd = ((FCGX_Request *)context)->ipcFd};

    return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLHUP | POLLERR)) != 0;
}

static bool put(void *context, struct text text)
{
    FCGX_Stream *out = ((FCGX_Request *)context)->out;

    while (text.len > 0) {
        int count = text.len < INT_MAX ? (int)text.len : INT_MAX;

        if (FCGX_PutStr(text.data, count, out) != count)
            return false;
        text.data += count;
        text.len -= (size_t)count;
    }
    return true;
}

static bool flush(void *context)
{
    return FCGX_FClose(((FCGX_Request *)context)->out) == 0;
}

static void answer(struct http_server *server, FCGX_Request *connection, struct arena *arena)
{
    const struct http_carrier carrier = {.context = connection,
                                         .variable = variable,
                                         .read_body = read_body,
                                         .is_gone = is_gone,
                                         .put = put,
                                         .flush = flush};

    exchange_answer(server, &carrier, arena);
}

/* A body that was refused by its length alone is read all the same: Apache takes a connection that
 * is closed while it still writes for a failure, and the client would not see the answer. */
static void read_unwanted(FCGX_Request *connection)
{
    char block[16384];
    int64_t left = UNWANTED_MAX;
    int got;

    while (left > 0 && (got = FCGX_GetStr(block, sizeof(block), connection->in)) > 0)
        left -= got;
}

void fastcgi_serve(struct http_server *server, int connection, struct arena *arena)
{
    struct timeval limit = {.tv_sec = PEER_TIMEOUT_S};
    FCGX_Request fastcgi;

    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    /* The library is given the connection instead of the listening socket: it reads from ipcFd if
     * it has one, and keeps it over the "end of the last request" that its accept begins with.
     * Where the connection turns out bad it closes it, goes on to accept from -1, and fails. */
    if (FCGX_InitRequest(&fastcgi, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0)
        abort();
    fastcgi.ipcFd = connection;
    fastcgi.keepConnection = 1;
    /* Closed without a polite half-close that waits for the peer's end: the whole request was read,
     * or the peer is none to be polite to. */
    fastcgi.detached = 1;
    if (FCGX_Accept_r(&fastcgi) != 0) {
        log_event(LOG_DEBUG, "http.bad_connection", LOG_INT("fd", connection));
        FCGX_Free(&fastcgi, 1);
        return;
    }
    fastcgi.keepConnection = 0;
    answer(server, &fastcgi, arena);
    read_unwanted(&fastcgi);
    FCGX_Finish_r(&fastcgi);
}
