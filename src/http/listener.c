/* SPDX-License-Identifier: MIT */
#include "http/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

#define SYSTEMD_FIRST_FD 3 /* sd_listen_fds(3) */

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t size = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

/* Non-blocking, because two workers may be told of one connection and one of them comes too late.
 */
static void prepare(int fd)
{
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int inherited(void)
{
    const char *pid = getenv("LISTEN_PID");
    int64_t wanted;

    if (is_listening(STDIN_FILENO))
        return STDIN_FILENO;
    if (pid != NULL && text_int64(text_of(pid), 1, INT64_MAX, &wanted) == OK &&
        wanted == (int64_t)getpid() && is_listening(SYSTEMD_FIRST_FD))
        return SYSTEMD_FIRST_FD;
    return -1;
}

bool listener_is_inherited(void)
{
    return inherited() >= 0;
}

enum error listener_open(struct listener *listener, const struct options *options,
                         struct failure *failure)
{
    struct unix_socket file;
    struct failure own;
    enum error error;
    int fd = inherited();

    if (fd >= 0) {
        prepare(fd);
        *listener = (struct listener){.fd = fd};
        return OK;
    }
    error = unix_socket_listen(&file, options->http_socket, 0660, &own);
    if (error != OK)
        return failure_set(failure, error, "HTTP_SOCKET: %.200s", own.detail);
    *listener = (struct listener){.fd = file.fd, .ours = true, .file = file};
    return OK;
}

void listener_unlink(const struct listener *listener)
{
    if (listener->ours)
        unix_socket_unlink(&listener->file);
}
