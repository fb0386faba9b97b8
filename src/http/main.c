/* SPDX-License-Identifier: MIT
 *
 * openclaw-gateway-http: the FastCGI responder; a CGI program where it is started as one.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/option.h"
#include "base/shared.h"
#include "db/db.h"
#include "http/cgi.h"
#include "http/listener.h"
#include "http/master.h"

static const char usage[] =
    "openclaw-gateway-http [--config FILE] [--check-config] [--version] [--help]\n"
    "\n"
    "The HTTP face of the gateway, as a FastCGI responder behind a web server. Listens on\n"
    "descriptor 0 where that is a listening socket, or on the one that systemd passes, else on\n"
    "HTTP_SOCKET. SIGTERM: answers what it has and ends. Started as a CGI program\n"
    "(GATEWAY_INTERFACE, REQUEST_METHOD) it answers one request.\n";

static int run_cgi(void)
{
    struct options options;
    struct failure failure;

    if (options_load(&options, NULL, db_setting_fault, stderr) != OK)
        return error_exit_code(ERR_CONFIG);
    log_open("openclaw-gateway-http", (enum log_level)options.log_level);
    if (shared_open(options.runtime_dir, &failure) != OK)
        log_failure("shared.open", &failure); /* failed attempts count from one for each request */
    return cgi_run(&options);
}

int main(int argc, char **argv)
{
    struct options options;
    struct listener listener;
    struct failure failure = {.error = OK};
    enum error error;
    int index;

    if (cgi_asked()) /* the arguments are the client's then */
        return run_cgi();
    index =
        options_from_arguments(&options, argc, argv, usage, db_setting_fault, CHECK_AT_EACH_START);
    log_open("openclaw-gateway-http", (enum log_level)options.log_level);
    if (index < argc) {
        (void)failure_set(&failure, ERR_INVALID_REQUEST, "unknown argument %.100s; see --help",
                          argv[index]);
        log_failure("start", &failure);
        return error_exit_code(ERR_INVALID_REQUEST);
    }
    if (options.auth_mode == AUTH_NONE)
        log_event(LOG_WARN, "auth.none",
                  LOG_STR("note", "AUTH_MODE=none: whoever reaches this socket is the operator"));
    if (shared_open(options.runtime_dir, &failure) != OK)
        log_failure("shared.open", &failure); /* each worker counts for itself */
    error = listener_open(&listener, &options, &failure);
    if (error != OK) {
        log_failure("start", &failure);
        return error_exit_code(error);
    }
    return master_run(&options, &listener);
}
