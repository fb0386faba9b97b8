/* SPDX-License-Identifier: MIT
 *
 * gatewayctl: the operator's program. What it can do is the table in verbs.c.
 */
#include <stdio.h>

#include "base/buffer.h"
#include "base/log.h"
#include "ctl/ctl.h"

#define USAGE_MAX 16384

static int finish(const struct ctl *ctl, const struct failure *failure)
{
    if (failure->error != OK && ctl->json) {
        struct document *error = document_object(ctl->arena);
        document_put_string(error, "code", error_code(failure->error));
        document_put_string(error, "message", error_phrase(failure->error));
        document_put_string(error, "detail", failure->detail);
        struct document *answer = document_put(document_object(ctl->arena), "error", error);
        fprintf(stderr, "%s\n", document_text(ctl->arena, answer).data);
    } else if (failure->error != OK) {
        fprintf(stderr, "gatewayctl: %s%s%s\n", error_phrase(failure->error),
                *failure->detail ? ": " : "", failure->detail);
    }
    if (fflush(stdout) != 0 && failure->error == OK) {
        fprintf(stderr, "gatewayctl: the answer could not be written\n");
        return error_exit_code(ERR_IO);
    }
    return error_exit_code(failure->error);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.json = false};
    struct buffer usage;
    struct failure failure = {.error = OK};
    const struct verb *verb = NULL;

    buffer_init(&usage, USAGE_MAX);
    log_open("gatewayctl", LOG_WARN);
    int first =
        options_from_arguments(&ctl.options, argc, argv, verb_usage(&usage), db_setting_fault);
    ctl.arena = arena_new();
    failure.error = arguments_parse(&ctl.arguments, argc - first, argv + first, &failure);
    ctl.json = ctl.arguments.flags[FLAG_JSON] != NULL;
    if (failure.error == OK)
        failure.error = verb_find(&ctl.arguments, &verb, &failure);
    if (failure.error == OK) {
        db_configure(&ctl.options);
        ctl.db = db_new(DB_POOLED);
        failure.error = verb->run(&ctl, &failure);
    }
    int code = finish(&ctl, &failure);
    db_free(ctl.db);
    arena_free(ctl.arena);
    buffer_release(&usage);
    return code;
}
