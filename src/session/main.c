/* SPDX-License-Identifier: MIT
 *
 * openclaw-gateway-session: websocketd's child, one process per WebSocket connection.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "db/db.h"
#include "session/loop.h"
#include "workflow/registry.h"

static const char usage[] =
    "usage: openclaw-gateway-session [--config FILE] [--check-config] [--version] [--help]\n"
    "\n"
    "Speaks the gateway's WebSocket protocol on standard input and output. websocketd starts it,\n"
    "one for each connection: websocketd … openclaw-gateway-session\n";

/* Takes the last element off a list with commas. */
static struct text last_of(struct text *list)
{
    size_t end = list->len, start;

    while (end > 0 && memchr(" \t,", list->data[end - 1], 3) != NULL)
        end--;
    for (start = end; start > 0 && memchr(" \t,", list->data[start - 1], 3) == NULL; start--)
        ;
    list->len = start;
    return text_without_zone((struct text){list->data + start, end - start});
}

/* Behind a proxy on this machine the client is the last hop that the proxy named, or the one before
 * that is no trusted proxy; what a client writes into that header itself stands before it. */
static struct text remote_address(struct text direct, struct text forwarded, const char *trusted)
{
    struct text hop = TEXT_NONE;

    if (!text_starts(direct, "127.") && !text_is(direct, "::1") && direct.len > 0)
        return text_without_zone(direct);
    do {
        struct text before = last_of(&forwarded);

        if (before.len == 0)
            break;
        hop = before;
    } while (text_is_word_of(hop, trusted));
    return hop.len > 0 ? hop : direct;
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct engine engine;
    struct failure failure = {0};
    struct peer peer;
    struct session *session;
    struct db *db;
    enum error error;

    if (options_from_arguments(&options, argc, argv, usage, db_setting_fault, CHECK_WHEN_TOLD) <
        argc) {
        fputs(usage, stderr);
        return 64;
    }
    peer = (struct peer){
        .authorization = text_of(getenv("HTTP_AUTHORIZATION")),
        .subprotocols = text_of(getenv("HTTP_SEC_WEBSOCKET_PROTOCOL")),
        .origin = text_of(getenv("HTTP_ORIGIN")),
        .query = text_of(getenv("QUERY_STRING")),
        .traceparent = text_of(getenv("HTTP_TRACEPARENT")),
        .remote = remote_address(text_of(getenv("REMOTE_ADDR")),
                                 text_of(getenv("HTTP_X_FORWARDED_FOR")), options.trusted_proxies),
    };
    if (text_is_request_id(text_of(getenv("HTTP_X_REQUEST_ID"))))
        peer.request_id = text_of(getenv("HTTP_X_REQUEST_ID"));
    log_open("openclaw-gateway-session", (enum log_level)options.log_level);
    if (shared_open(options.runtime_dir, &failure) != OK)
        log_failure("shared.open", &failure);
    db_configure(&options);
    engine_init(&engine, &options, workflow_definitions, EXECUTOR_SESSION);
    db = db_new(DB_RELAYED);
    session = session_new(&engine, &peer, clock_ms());
    error = loop_run(session, &engine, db, &failure);
    if (error != OK)
        log_failure("session.failed", &failure);
    db_free(db);
    session_free(session);
    return error_exit_code(error);
}
