/* SPDX-License-Identifier: MIT
 *
 * gatewayctl: the operator's program. What it can do is the table in verbs.c.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "ctl/ctl.h"
#include "durable/bells.h"

#define USAGE_MAX   65536
#define WATCH_MS    2000
#define WATCH_RETRY 1000 /* ms, while the database is away */

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

/* Again and again, until interrupted: on a terminal in place of the last one. What another try may
 * mend does not end it. */
static enum error watch(struct ctl *ctl, const struct verb *verb, struct failure *failure)
{
    bool terminal = isatty(STDOUT_FILENO) && !ctl->json;
    int64_t pause_ms;
    enum error error = ctl_interval(ctl, WATCH_MS, &pause_ms, failure);

    if (error != OK)
        return error;
    for (;;) {
        if (terminal)
            fputs("\033[H\033[2J", stdout);
        error = verb->run(ctl, failure);
        if (error != OK && error_retry(error) == RETRY_NEVER)
            return error;
        if (error != OK)
            fprintf(stderr, "gatewayctl: %s: %s; trying again\n", error_phrase(error),
                    failure->detail);
        else if (!terminal && !ctl->json)
            putchar('\n');
        if (fflush(stdout) != 0)
            return failure_set(failure, ERR_IO, "the answer could not be written");
        arena_reset(ctl->arena);
        clock_sleep_ms(error != OK ? WATCH_RETRY : pause_ms);
    }
}

/* What is no UTF-8 never reaches the database, wherever it stands. */
static enum error check_encoding(const struct arguments *arguments, struct failure *failure)
{
    for (unsigned i = 0; i < arguments->operand_count; i++)
        if (!utf8_valid(text_of(arguments->operands[i])))
            return failure_set(failure, ERR_INVALID_ENCODING, "argument %u is no UTF-8 text",
                               i + 1);
    for (unsigned f = 0; f < FLAG__MAX; f++)
        if (arguments->flags[f] && !utf8_valid(text_of(arguments->flags[f])))
            return failure_set(failure, ERR_INVALID_ENCODING, "what %s gives is no UTF-8 text",
                               flag_rows[f].name);
    return OK;
}

static enum error run_verb(struct ctl *ctl, struct failure *failure)
{
    const struct verb *verb = NULL;
    enum error error = verb_find(&ctl->arguments, &verb, failure);

    if (error != OK)
        return error;
    db_configure(&ctl->options);
    ctl->db = db_new(DB_POOLED);
    return ctl_flag(ctl, FLAG_WATCH) ? watch(ctl, verb, failure) : verb->run(ctl, failure);
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.json = false};
    struct buffer usage;
    struct failure failure = {.error = OK};

    buffer_init(&usage, USAGE_MAX);
    log_open("gatewayctl", LOG_WARN);
    int first = options_from_arguments(&ctl.options, argc, argv, verb_usage(NULL, &usage),
                                       db_setting_fault, CHECK_AT_EACH_START);
    ctl.arena = arena_new();
    failure.error = arguments_parse(&ctl.arguments, argc - first, argv + first, &failure);
    if (failure.error == OK)
        failure.error = check_encoding(&ctl.arguments, &failure);
    ctl.json = ctl.arguments.flags[FLAG_JSON] != NULL;
    ctl.screen = ctl_screen(ctl.arguments.flags[FLAG_WATCH] != NULL);
    if (failure.error == OK && ctl.arguments.flags[FLAG_HELP]) {
        buffer_clear(&usage);
        fputs(verb_usage(&ctl.arguments, &usage), stdout);
    } else if (failure.error == OK) {
        failure.error = run_verb(&ctl, &failure);
    }
    if (ctl.db)
        bells_send(ctl.db);
    int code = finish(&ctl, &failure);
    db_free(ctl.db);
    arena_free(ctl.arena);
    buffer_release(&usage);
    return code;
}
