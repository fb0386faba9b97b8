/* SPDX-License-Identifier: MIT
 *
 * One request and its answer, whatever carries them: FastCGI or plain CGI.
 */
#ifndef OPENCLAW_HTTP_EXCHANGE_H
#define OPENCLAW_HTTP_EXCHANGE_H

#include "http/server.h"

struct http_carrier {
    void *context; /* of all of these */
    http_variable_function *variable;
    http_body_function *read_body;
    /* True: nobody is there any more to take an answer. */
    bool (*is_gone)(void *context);
    bool (*put)(void *context, struct text bytes);
    /* True: the web server has taken all that was put. */
    bool (*flush)(void *context);
};

/* Reads, answers, and tells the handler whether the answer was taken. */
void exchange_answer(struct http_server *server, const struct http_carrier *carrier,
                     struct arena *arena);

#endif
