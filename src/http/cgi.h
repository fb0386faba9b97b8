/* SPDX-License-Identifier: MIT
 *
 * Plain CGI (RFC 3875): the web server starts the program for one request. For the smallest host;
 * each request pays for a process and a database connection.
 */
#ifndef OPENCLAW_HTTP_CGI_H
#define OPENCLAW_HTTP_CGI_H

#include <stdbool.h>

#include "base/option.h"

/* Was this process started to answer one request? To be asked before anything is made of the
 * arguments: a web server passes a query without an equals sign in them, and they are the client's.
 */
bool cgi_asked(void);

/* Answers the request of the environment and of standard input on standard output. Returns the exit
 * code. The path is what comes after SCRIPT_NAME. */
int cgi_run(const struct options *options);

#endif
