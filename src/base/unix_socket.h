/* SPDX-License-Identifier: MIT
 *
 * A listening stream socket that stands as a file.
 */
#ifndef OPENCLAW_BASE_UNIX_SOCKET_H
#define OPENCLAW_BASE_UNIX_SOCKET_H

#include <sys/types.h>

#include "base/error.h"

#define LISTEN_BACKLOG 1024 /* what comes at once must fit; somaxconn caps it */

struct unix_socket {
    int fd;
    dev_t device; /* of the file, so that another's is not taken for it */
    ino_t inode;
    char path[108];
};

/* Listens at `path`, taking the place of what stands there without a moment in between. `mode`: of
 * the file, from the first moment on; no other thread may be there yet. Not blocking, because two
 * may be told of one connection and one of them comes too late. Errors: CONFIG (the path is too
 * long), IO. */
enum error unix_socket_listen(struct unix_socket *socket, const char *path, mode_t mode,
                              struct failure *failure) MUST_CHECK;

/* Removes the file if it is still ours, so that nobody new comes. The descriptor stays open. */
void unix_socket_unlink(const struct unix_socket *socket);
/* The same, and closes it; once is enough, twice does no harm. */
void unix_socket_close(struct unix_socket *socket);

#endif
