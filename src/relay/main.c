/* SPDX-License-Identifier: MIT
 *
 * openclaw-gateway-relay: one for each host, between its sessions and the database.
 */
#define _GNU_SOURCE /* accept4 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/shared.h"
#include "base/unix_socket.h"
#include "relay/relay.h"

#define PROGRAM       "openclaw-gateway-relay"
#define STOP_GRACE_MS 5000 /* for the calls that are here when it is asked to end */
#define BEAT_MS       5000
#define ACCEPT_MS     100 /* pause after accept(2) failed */

struct relay {
    struct unix_socket socket;
    struct lanes lanes;
    struct client *clients[CLIENTS_MAX];
    size_t count;
    int64_t accept_at;
    int64_t beat_at;
    int64_t end_at; /* INT64_MAX: nobody has asked it to end */
};

static volatile sig_atomic_t stop_asked;
static int wake_pipe[2] = {-1, -1};

static void on_signal(int number)
{
    int saved = errno;
    ssize_t ignored = write(wake_pipe[1], "", 1);

    (void)number;
    (void)ignored;
    stop_asked = 1;
    errno = saved;
}

static enum error catch_signals(struct failure *failure)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    (void)sigemptyset(&action.sa_mask);
    (void)sigemptyset(&ignore.sa_mask);
    if (pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
        sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0)
        return failure_set(failure, ERR_IO, "no signals: a pipe or a handler cannot be had");
    return OK;
}

/* Each session that is busy holds a descriptor here. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- clients
 * -------------------------------------------------------------------------------------- */

static void accept_clients(struct relay *relay, int64_t now)
{
    for (;;) {
        int fd = accept4(relay->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
                relay->accept_at = now + ACCEPT_MS;
            return;
        }
        struct client *client = client_new(fd);
        if (relay->count < CLIENTS_MAX) {
            relay->clients[relay->count++] = client;
        } else {
            client_dismiss(client, ANSWER_BUSY);
            client_free(client);
        }
    }
}

/* Bytes that calls may have in all, beside those that are here. */
static size_t input_room(const struct relay *relay)
{
    size_t bytes = 0;

    for (size_t i = 0; i < relay->count; i++)
        bytes += relay->clients[i]->in.len;
    return bytes < INPUT_BYTES_MAX ? INPUT_BYTES_MAX - bytes : 0;
}

static void read_client(struct relay *relay, struct client *client, size_t *room, int64_t now)
{
    size_t before = client->in.len, grown;

    if (before == 0)
        client->since = now;
    if (client_read(client, *room + before))
        lanes_add(&relay->lanes, client, now);
    grown = client->in.len - before;
    *room -= grown < *room ? grown : *room;
}

/* An answer that is not taken yet: nothing more is read from who has one. */
static bool is_owed(const struct client *client)
{
    return client->out.len > 0;
}

static void serve_client(struct relay *relay, struct client *client, short events, size_t *room,
                         int64_t now)
{
    if (events & (POLLHUP | POLLERR | POLLNVAL)) {
        client_close(client); /* it waits for no answer any more */
        return;
    }
    if (events & POLLOUT)
        client_write(client);
    if (client->state != CLIENT_READING)
        client_reassure(client, now);
    else if ((is_owed(client) || client->in.len > 0) && now >= client->since + STUCK_MS)
        client_close(client);
    else if (relay->end_at != INT64_MAX && !is_owed(client))
        client_dismiss(client, ANSWER_BUSY);
    else if (events & POLLIN)
        read_client(relay, client, room, now);
}

/* With the others they have calls to share again. */
static void call_back(struct relay *relay)
{
    for (size_t i = 0; i < relay->count; i++)
        if (relay->clients[i]->sent_off && !is_owed(relay->clients[i]))
            client_close(relay->clients[i]);
}

static void forget_gone(struct relay *relay)
{
    size_t kept = 0;

    for (size_t i = 0; i < relay->count; i++) {
        struct client *client = relay->clients[i];

        if (client->fd >= 0)
            relay->clients[kept++] = client;
        else
            lanes_forget(&relay->lanes, client);
    }
    relay->count = kept;
}

/* ---- the loop
 * ------------------------------------------------------------------------------------- */

static int wait_ms(const struct relay *relay, int64_t now)
{
    int64_t deadline = lanes_deadline(&relay->lanes);

    if (relay->end_at < deadline)
        deadline = relay->end_at;
    if (relay->beat_at < deadline)
        deadline = relay->beat_at;
    if (relay->accept_at > now && relay->accept_at < deadline)
        deadline = relay->accept_at;
    for (size_t i = 0; i < relay->count; i++)
        if (relay->clients[i]->state != CLIENT_READING && relay->clients[i]->alive_at < deadline)
            deadline = relay->clients[i]->alive_at;
    if (deadline <= now)
        return 0;
    return deadline - now < INT_MAX ? (int)(deadline - now) : INT_MAX;
}

enum { POLL_WAKE, POLL_SOCKET, POLL_LANES };

static enum error wait_and_serve(struct relay *relay, struct pollfd *fds, struct failure *failure)
{
    const struct lanes *lanes = &relay->lanes;
    int64_t now = clock_ms();
    struct pollfd *clients = fds + POLL_LANES + lanes->count;
    size_t count = relay->count, room = input_room(relay);
    char drain[16];

    fds[POLL_WAKE] = (struct pollfd){.fd = wake_pipe[0], .events = POLLIN};
    fds[POLL_SOCKET] =
        (struct pollfd){.fd = now >= relay->accept_at ? relay->socket.fd : -1, .events = POLLIN};
    for (size_t i = 0; i < lanes->count; i++) {
        struct db *db = lanes->all[i].db;

        fds[POLL_LANES + i] =
            (struct pollfd){.fd = db_busy(db) ? db_poll_fd(db) : -1, .events = db_poll_events(db)};
    }
    for (size_t i = 0; i < count; i++) {
        const struct client *client = relay->clients[i];

        clients[i] = (struct pollfd){
            .fd = client->fd,
            .events = is_owed(client)                   ? POLLOUT
                      : client->state == CLIENT_READING ? POLLIN
                                                        : 0,
        };
    }
    if (poll(fds, (nfds_t)(POLL_LANES + lanes->count + count), wait_ms(relay, now)) < 0 &&
        errno != EINTR)
        return failure_set(failure, ERR_IO, "poll failed");
    now = clock_ms();
    if (fds[POLL_WAKE].revents != 0)
        (void)!read(wake_pipe[0], drain, sizeof drain);
    for (size_t i = 0; i < count; i++)
        serve_client(relay, relay->clients[i], clients[i].revents, &room, now);
    if (fds[POLL_SOCKET].revents != 0)
        accept_clients(relay, now);
    if (relay->count > ALONE_MAX)
        call_back(relay);
    forget_gone(relay);
    relay->lanes.company = relay->count;
    lanes_advance(&relay->lanes, now);
    forget_gone(relay);
    return OK;
}

/* Whose call has not begun calls the database himself, and need not wait to learn it. */
static void stop(struct relay *relay)
{
    notify_supervisor("STOPPING=1");
    relay->end_at = clock_ms() + STOP_GRACE_MS;
    accept_clients(relay, clock_ms());
    unix_socket_close(&relay->socket);
    for (size_t i = 0; i < relay->count; i++)
        if (relay->clients[i]->state == CLIENT_READING && !is_owed(relay->clients[i]))
            client_dismiss(relay->clients[i], ANSWER_BUSY);
    forget_gone(relay);
}

static bool is_over(const struct relay *relay)
{
    return relay->end_at != INT64_MAX &&
           (!lanes_busy(&relay->lanes) || clock_ms() >= relay->end_at);
}

static enum error run(struct relay *relay, struct failure *failure)
{
    struct pollfd *fds = calloc(POLL_LANES + relay->lanes.count + CLIENTS_MAX, sizeof *fds);
    enum error error = OK;

    if (fds == NULL)
        abort();
    notify_supervisor("READY=1");
    while (error == OK && !is_over(relay)) {
        if (stop_asked && relay->end_at == INT64_MAX)
            stop(relay);
        if (clock_ms() >= relay->beat_at) {
            relay->beat_at = clock_ms() + BEAT_MS;
            notify_supervisor("WATCHDOG=1");
        }
        error = wait_and_serve(relay, fds, failure);
    }
    free(fds);
    return error;
}

int main(int argc, char **argv)
{
    static struct relay relay = {.end_at = INT64_MAX};
    struct options options;
    struct sockaddr_un address;
    struct failure failure = {0};
    enum error error;
    int first = options_from_arguments(&options, argc, argv,
                                       "usage: " PROGRAM
                                       " [--config FILE] [--check-config] [--version] [--help]\n\n"
                                       "Takes the database calls of this host's sessions, "
                                       "RUNTIME_DIR/relay.sock, and makes those\n"
                                       "that come together one.\n",
                                       db_setting_fault, CHECK_AT_EACH_START);

    if (first < argc) {
        fprintf(stderr, PROGRAM ": %s is no argument of it; see --help\n", argv[first]);
        return error_exit_code(ERR_INVALID_REQUEST);
    }
    log_open(PROGRAM, (enum log_level)options.log_level);
    raise_limit();
    if (shared_open(options.runtime_dir, &failure) != OK)
        log_failure("shared.open", &failure);
    db_configure(&options);
    error = catch_signals(&failure);
    if (error == OK && !relay_address(options.runtime_dir, &address))
        error = failure_set(&failure, ERR_CONFIG, "RUNTIME_DIR: %s is too long for a socket in it",
                            options.runtime_dir);
    if (error == OK)
        error = unix_socket_listen(&relay.socket, address.sun_path, 0600, &failure);
    if (error == OK) {
        lanes_open(&relay.lanes, &options);
        error = run(&relay, &failure);
        unix_socket_close(&relay.socket);
        for (size_t i = 0; i < relay.count; i++)
            client_close(relay.clients[i]);
        lanes_close(&relay.lanes);
    }
    if (error != OK)
        log_failure("relay.failed", &failure);
    return error_exit_code(error);
}
