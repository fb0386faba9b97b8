/* SPDX-License-Identifier: MIT */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Binds beside the place and moves into it. */
static enum error bind_at(int fd, const char *path, mode_t mode, struct failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    mode_t mask;
    int bound, wanted;

    wanted = snprintf(address.sun_path, sizeof(address.sun_path), "%s.%ld", path, (long)getpid());
    if (wanted < 0 || (size_t)wanted >= sizeof(address.sun_path))
        return failure_set(failure, ERR_CONFIG, "%s is too long for a socket's path", path);
    (void)unlink(address.sun_path);
    mask = umask(~mode & 0777);
    bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(mask);
    if (bound != 0 || listen(fd, LISTEN_BACKLOG) != 0 || rename(address.sun_path, path) != 0) {
        enum error error =
            failure_set(failure, ERR_IO, "cannot listen at %s: %s", path, strerror(errno));

        (void)unlink(address.sun_path);
        return error;
    }
    return OK;
}

enum error unix_socket_listen(struct unix_socket *made, const char *path, mode_t mode,
                              struct failure *failure)
{
    struct stat status;
    enum error error;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0)
        return failure_set(failure, ERR_IO, "cannot make a socket: %s", strerror(errno));
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    error = bind_at(fd, path, mode, failure);
    if (error == OK && stat(path, &status) != 0)
        error = failure_set(failure, ERR_IO, "%s is gone again", path);
    if (error != OK) {
        (void)close(fd);
        return error;
    }
    *made = (struct unix_socket){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
    snprintf(made->path, sizeof(made->path), "%s", path);
    return OK;
}

void unix_socket_unlink(const struct unix_socket *made)
{
    struct stat status;

    if (stat(made->path, &status) == 0 && status.st_dev == made->device &&
        status.st_ino == made->inode)
        (void)unlink(made->path);
}

void unix_socket_close(struct unix_socket *made)
{
    if (made->fd < 0)
        return;
    unix_socket_unlink(made);
    (void)close(made->fd);
    made->fd = -1;
}
