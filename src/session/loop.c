/* SPDX-License-Identifier: MIT
 *
 * websocketd relays both directions in one thread: if we blocked on standard output while it
 * blocks on our standard input, both would hang for ever. So nothing here blocks but poll, and
 * standard input is always read; but for the while that a credential is looked at, which ends by
 * itself and in which nothing is said that the client would have to read first.
 */
#include "session/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "gateway/hand_over.h"

#define READ_SIZE  16384
#define WRITE_SIZE 65536 /* at once, so that reading gets its turn */

struct loop {
    struct session *session;
    const struct engine *engine;
    struct db *db;
    struct bell bell;
    bool bell_tried;
    bool input_ended;
    bool stop_seen;
    int64_t db_used; /* when the connection last had something to do */
};

static volatile sig_atomic_t stop_asked, continued;
static int wake_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;
    ssize_t ignored = write(wake_pipe[1], "", 1);

    (void)ignored;
    if (number == SIGCONT)
        continued = 1;
    else
        stop_asked = 1;
    errno = saved;
}

static enum error set_nonblocking(int fd, struct failure *failure)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return failure_set(failure, ERR_IO, "descriptor %d: %s", fd, strerror(errno));
    return OK;
}

static enum error prepare(struct failure *failure)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    enum error error = OK;

    if (pipe(wake_pipe) < 0)
        return failure_set(failure, ERR_IO, "no pipe: %s", strerror(errno));
    for (int i = 0; i < 2 && error == OK; i++) {
        (void)fcntl(wake_pipe[i], F_SETFD, FD_CLOEXEC);
        error = set_nonblocking(wake_pipe[i], failure);
    }
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && error == OK; fd++)
        error = set_nonblocking(fd, failure);
    if (error != OK)
        return error;
    (void)sigemptyset(&action.sa_mask);
    (void)sigemptyset(&ignore.sa_mask);
    if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
        sigaction(SIGCONT, &action, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0)
        return failure_set(failure, ERR_IO, "signals: %s", strerror(errno));
    return OK;
}

static void client_left(struct loop *loop)
{
    if (!loop->input_ended)
        session_left(loop->session, clock_ms());
    loop->input_ended = true;
}

static void read_input(struct loop *loop)
{
    char bytes[READ_SIZE];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (got > 0)
        session_input(loop->session, (struct text){bytes, (size_t)got}, clock_ms());
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        client_left(loop);
}

static void write_output(struct loop *loop)
{
    struct text output = session_output(loop->session);
    ssize_t put;

    if (output.len == 0)
        return;
    FAULT_POINT("client.write");
    put = write(STDOUT_FILENO, output.data, output.len < WRITE_SIZE ? output.len : WRITE_SIZE);
    FAULT_POINT("client.written");
    if (put > 0)
        session_written(loop->session, (size_t)put, clock_ms());
    else if (put < 0 && errno != EAGAIN && errno != EINTR)
        client_left(loop);
}

/* Before the session is known to others, so that no ring for it is lost. */
static void open_bell(struct loop *loop)
{
    struct failure failure;

    if (loop->bell_tried || !session_wants_bell(loop->session))
        return;
    loop->bell_tried = true;
    if (bell_open(&loop->bell, loop->engine->options->runtime_dir, loop->engine->executor.id,
                  &failure) != OK)
        log_failure("bell.open", &failure);
}

static void answer_bell(struct loop *loop)
{
    char bytes[HAND_OVER_MAX];
    struct text brought;
    bool rung = false;

    while (bell_take(&loop->bell, bytes, sizeof(bytes), &brought))
        rung |= brought.len == 0 || !session_hand_over(loop->session, brought, clock_ms());
    if (rung)
        session_bell(loop->session, clock_ms());
}

static void start_call(struct loop *loop)
{
    const struct db_call *call;

    if (db_busy(loop->db))
        return;
    call = session_call(loop->session, clock_ms());
    if (call != NULL)
        db_start(loop->db, call);
}

static void advance_call(struct loop *loop)
{
    struct failure failure = {0};
    enum error error = OK;
    struct db_rows *rows = NULL;

    if (!db_busy(loop->db))
        return;
    loop->db_used = clock_ms();
    if (db_advance(loop->db, &failure, &error, &rows))
        session_answer(loop->session, error, &failure, rows, clock_ms());
}

static int64_t idle_deadline(const struct loop *loop)
{
    if (db_busy(loop->db) || !db_is_open(loop->db))
        return INT64_MAX;
    return loop->db_used + loop->engine->options->db_idle_ms;
}

static int wait_ms(const struct loop *loop)
{
    int64_t deadline = session_deadline(loop->session);
    int64_t now = clock_ms();

    if (db_busy(loop->db) && db_poll_deadline(loop->db) < deadline)
        deadline = db_poll_deadline(loop->db);
    if (idle_deadline(loop) < deadline)
        deadline = idle_deadline(loop);
    if (deadline == INT64_MAX)
        return -1;
    if (deadline <= now)
        return 0;
    return deadline - now < INT_MAX ? (int)(deadline - now) : INT_MAX;
}

enum { POLL_INPUT, POLL_OUTPUT, POLL_WAKE, POLL_BELL, POLL_DB, POLL__MAX };

static enum error wait_for_something(struct loop *loop, struct failure *failure)
{
    bool reads = !loop->input_ended && session_wants_input(loop->session);
    struct pollfd fds[POLL__MAX] = {
        [POLL_INPUT] = {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
        [POLL_OUTPUT] = {.fd = -1, .events = POLLOUT},
        [POLL_WAKE] = {.fd = wake_pipe[0], .events = POLLIN},
        [POLL_BELL] = {.fd = loop->bell.fd, .events = POLLIN},
        [POLL_DB] = {.fd = -1},
    };
    char drain[16];

    if (session_output(loop->session).len > 0)
        fds[POLL_OUTPUT].fd = STDOUT_FILENO;
    if (db_busy(loop->db)) {
        fds[POLL_DB].fd = db_poll_fd(loop->db);
        fds[POLL_DB].events = db_poll_events(loop->db);
    }
    if (poll(fds, POLL__MAX, wait_ms(loop)) < 0 && errno != EINTR)
        return failure_set(failure, ERR_IO, "poll: %s", strerror(errno));
    if (fds[POLL_WAKE].revents != 0)
        (void)!read(wake_pipe[0], drain, sizeof(drain));
    if (fds[POLL_INPUT].revents != 0)
        read_input(loop);
    if (fds[POLL_BELL].revents != 0)
        answer_bell(loop);
    return OK;
}

/* Nothing has happened for a while: there are many of us, so what is not needed goes. */
static void rest(struct loop *loop)
{
    db_close(loop->db);
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

static enum error run(struct loop *loop, struct failure *failure)
{
    enum error error = OK;

    while (error == OK) {
        if (stop_asked && !loop->stop_seen) {
            loop->stop_seen = true;
            session_stop(loop->session, "the gateway is shutting down", clock_ms());
        }
        if (continued) {
            continued = 0;
            bell_drain(&loop->bell); /* what was handed over may be somebody else's by now */
            session_continued(loop->session, clock_ms());
            session_bell(loop->session, clock_ms());
        }
        session_advance(loop->session, clock_ms());
        open_bell(loop);
        start_call(loop);
        advance_call(loop);
        write_output(loop);
        if (clock_ms() >= idle_deadline(loop))
            rest(loop);
        if (session_over(loop->session))
            return OK;
        error = wait_for_something(loop, failure);
    }
    return error;
}

enum error loop_run(struct session *session, const struct engine *engine, struct db *db,
                    struct failure *failure)
{
    struct loop loop = {.session = session, .engine = engine, .db = db, .bell = {.fd = -1}};
    enum error error = prepare(failure);

    if (error == OK)
        error = run(&loop, failure);
    bell_close(&loop.bell);
    return error;
}
