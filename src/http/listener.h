/* SPDX-License-Identifier: MIT
 *
 * The socket on which the web server's connections come in.
 */
#ifndef OPENCLAW_HTTP_LISTENER_H
#define OPENCLAW_HTTP_LISTENER_H

#include <stdbool.h>

#include "base/option.h"
#include "base/unix_socket.h"

struct listener {
    int fd;
    bool ours; /* we made the socket's file; otherwise whoever started us keeps the socket */
    struct unix_socket file;
};

/* Would listener_open() take a socket that somebody else has made? */
bool listener_is_inherited(void);

/* Descriptor 0 where it is a listening socket (FastCGI: the web server started us; systemd with
 * StandardInput=socket), or the first that systemd passes (LISTEN_FDS); else makes HTTP_SOCKET,
 * mode 0660, taking the place of what stands there. Errors: CONFIG, IO. */
enum error listener_open(struct listener *listener, const struct options *options,
                         struct failure *failure) MUST_CHECK;

/* Removes the file if it is still ours, so that nobody new comes. The descriptor stays open. */
void listener_unlink(const struct listener *listener);

#endif
