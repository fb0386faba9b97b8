/* SPDX-License-Identifier: MIT */
#include "http/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

/* Binds beside the place and moves into it: there is no moment without a socket, and one that a
 * dead process left is replaced. */
static enum error bind_at(int fd, const char *path, struct failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t mask;
    int bound, wanted;

    wanted = snprintf(address.sun_path, sizeof(address.sun_path), "%s.%ld", path, (long)getpid());
    if (wanted < 0 || (size_t)wanted >= sizeof(address.sun_path))
        return failure_set(failure, ERR_CONFIG, "HTTP_SOCKET: %s is too long for a socket's path",
                           path);
    (void)unlink(address.sun_path);
    mask = umask(0117); /* 0660 from the first moment on; no other thread is there yet */
    bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(mask);
    if (bound != 0 || listen(fd, LISTEN_BACKLOG) != 0 || rename(address.sun_path, path) != 0) {
        enum error error = failure_set(failure, ERR_IO, "HTTP_SOCKET: cannot listen at %s: %s",
                                       path, strerror(errno));

        (void)unlink(address.sun_path);
        return error;
    }
    return OK;
}

enum error listener_open(struct listener *listener, const struct options *options,
                         struct failure *failure)
{
    struct stat status;
    enum error error;
    int fd = inherited();

    if (fd >= 0) {
        prepare(fd);
        *listener = (struct listener){.fd = fd};
        return OK;
    }
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return failure_set(failure, ERR_IO, "cannot make a socket: %s", strerror(errno));
    prepare(fd);
    error = bind_at(fd, options->http_socket, failure);
    if (error == OK && stat(options->http_socket, &status) != 0)
        error = failure_set(failure, ERR_IO, "HTTP_SOCKET: %s is gone again", options->http_socket);
    if (error != OK) {
        (void)close(fd);
        return error;
    }
    *listener = (struct listener){.fd = fd,
                                  .ours = true,
                                  .device = status.st_dev,
                                  .inode = status.st_ino,
                                  .path = options->http_socket};
    return OK;
}

void listener_unlink(const struct listener *listener)
{
    struct stat status;

    if (listener->ours && stat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode)
        (void)unlink(listener->path);
}
