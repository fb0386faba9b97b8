/* SPDX-License-Identifier: MIT
 *
 * gatewayctl doctor: whether the relay of this host does a call. It is not needed, so the worst
 * that is said of it is WARN.
 */
#define _GNU_SOURCE /* SOCK_NONBLOCK, SOCK_CLOEXEC */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/doctor.h"
#include "db/wire.h"

#define SILENCE_MS 3000 /* after which a session leaves it alone, too */
#define READ_SIZE  4096
#define ANSWER_MAX ((size_t)65536)

enum reply {
    REPLY_ROWS,
    REPLY_FAILURE, /* in doctor->failure: the database's */
    REPLY_OTHER_BUILD,
    REPLY_BUSY,
    REPLY_SILENCE,
    REPLY_END,
};

static int connect_relay(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        int saved = errno;

        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* A call that is this small goes out at once, or it does not get on. */
static bool send_ping(struct doctor *doctor, int fd)
{
    struct db_call call;
    struct buffer out;
    bool sent;

    buffer_init(&out, ANSWER_MAX);
    db_call_init(&call, doctor->arena, STATEMENT_PING);
    wire_put_call(&out, &call);
    sent = send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len;
    buffer_release(&out);
    return sent;
}

/* False: it only says that it lives. */
static bool take_answer(struct doctor *doctor, struct text frame, enum reply *ret_reply)
{
    enum answer_kind kind = wire_get_kind(frame);

    if (kind == ANSWER_ALIVE)
        return false;
    *ret_reply = REPLY_OTHER_BUILD;
    if (kind == ANSWER_BUSY)
        *ret_reply = REPLY_BUSY;
    if (kind == ANSWER_ROWS)
        *ret_reply = REPLY_ROWS;
    if (kind == ANSWER_FAILURE && wire_get_failure(frame, &doctor->failure))
        *ret_reply = REPLY_FAILURE;
    return true;
}

static enum reply read_answer(struct doctor *doctor, int fd, struct buffer *in)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    enum reply reply;
    char bytes[READ_SIZE];

    for (;;) {
        int ready = poll(&wait, 1, SILENCE_MS);
        ssize_t got = ready > 0 ? recv(fd, bytes, sizeof bytes, 0) : 0;
        size_t frame;

        if (ready == 0)
            return REPLY_SILENCE;
        if (ready < 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)))
            continue;
        if (got <= 0)
            return REPLY_END;
        buffer_append(in, (struct text){bytes, (size_t)got});
        if (in->overflowed)
            return REPLY_OTHER_BUILD;
        while ((frame = wire_frame(buffer_text(in))) > 0) {
            if (take_answer(doctor, (struct text){in->data, frame}, &reply))
                return reply;
            buffer_consume(in, frame);
        }
    }
}

static enum reply ask_relay(struct doctor *doctor, int fd)
{
    enum reply reply = REPLY_END;
    struct buffer in;

    if (!send_ping(doctor, fd))
        return reply;
    buffer_init(&in, ANSWER_MAX);
    reply = read_answer(doctor, fd, &in);
    buffer_release(&in);
    return reply;
}

static enum level unreachable(struct doctor *doctor, const char *path, int error,
                              const char **ret_detail)
{
    if (error == EACCES || error == EPERM) {
        *ret_detail = arena_printf(doctor->arena,
                                   "this user may not open %s; ask as root, or as the user that "
                                   "the programs run as",
                                   path);
        return LEVEL_SKIP;
    }
    if (error == EAGAIN) {
        *ret_detail = arena_printf(
            doctor->arena, "it takes no connection at %s: it stands still; start it again", path);
        return LEVEL_WARN;
    }
    if (!websocketd_runs(doctor)) {
        *ret_detail = "none runs on this host, and no websocketd that would use it";
        return LEVEL_SKIP;
    }
    *ret_detail = arena_printf(
        doctor->arena,
        "none at %s (%s), and websocketd runs here: each session calls the database by itself, "
        "which is slower; start openclaw-gateway-relay, with the RUNTIME_DIR of the sessions",
        path, strerror(error));
    return LEVEL_WARN;
}

static enum level judge_reply(struct doctor *doctor, enum reply reply, int64_t took_ms,
                              const char **ret_detail)
{
    switch (reply) {
    case REPLY_ROWS:
        *ret_detail = arena_printf(doctor->arena, "it answers, in %lld ms: the database through it",
                                   (long long)took_ms);
        return LEVEL_OK;
    case REPLY_FAILURE:
        *ret_detail =
            arena_printf(doctor->arena, "it cannot reach the database: %s", doctor->failure.detail);
        break;
    case REPLY_OTHER_BUILD:
        *ret_detail = "it is of another build than this program, or has another database: sessions "
                      "that are like this program do without it; start it again";
        break;
    case REPLY_BUSY:
        *ret_detail = "it gives calls back, and sessions make them by themselves: it is full, or the "
                      "database does not get on with what came before; see connections and "
                      "transactions";
        break;
    case REPLY_SILENCE:
        *ret_detail = "it stands still: sessions wait three seconds for it and then do without; "
                      "start it again";
        break;
    case REPLY_END:
        *ret_detail = "it ended the connection without an answer; its log says why";
        break;
    }
    doctor->failure = (struct failure){.error = OK};
    return LEVEL_WARN;
}

enum level doctor_relay(struct doctor *doctor, const char **ret_detail)
{
    struct sockaddr_un address;
    int64_t began = clock_ms();

    if (!relay_address(doctor->ctl->options.runtime_dir, &address)) {
        *ret_detail = "RUNTIME_DIR is too long for a socket in it";
        return LEVEL_WARN;
    }
    int fd = connect_relay(&address);
    if (fd < 0)
        return unreachable(doctor, address.sun_path, errno, ret_detail);
    enum reply reply = ask_relay(doctor, fd);
    (void)close(fd);
    return judge_reply(doctor, reply, clock_ms() - began, ret_detail);
}
