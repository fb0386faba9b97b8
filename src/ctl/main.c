/* SPDX-License-Identifier: MIT
 *
 * gatewayctl: the operator's program. Its verbs are one table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "ctl/ctl.h"

#define USAGE_MAX 16384

static const struct verb verbs[] = {
    {{"migrate", NULL},
     "",
     0,
     TAKES(FLAG_STATUS) | TAKES(FLAG_DRY_RUN) | TAKES(FLAG_APP_ROLE),
     "bring the database to the schema of this version",
     ctl_migrate},
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static const char *write_usage(struct buffer *out)
{
    buffer_append_string(out, "usage: gatewayctl [--config FILE] VERB [ARGUMENT...] [--json]\n"
                              "       gatewayctl --check-config | --version | --help\n");
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct verb *verb = &verbs[i];
        buffer_printf(out, "\n  %s%s%s%s\n        %s\n", verb->words[0], verb->words[1] ? " " : "",
                      verb->words[1] ? verb->words[1] : "", verb->operands, verb->summary);
        for (unsigned f = 0; f < FLAG__MAX; f++) {
            const struct flag_row *row = &flag_rows[f];
            if (verb->flags & TAKES(f))
                buffer_printf(out, "        %s%s%-*s %s\n", row->name, row->value ? " " : "",
                              (int)(17 - strlen(row->name) - (row->value ? 1 : 0)),
                              row->value ? row->value : "", row->help);
        }
    }
    buffer_append_string(out, "\nThe exit status is 0, or tells the error: 64 usage, 66 not found, "
                              "69 database away,\n77 not allowed, 78 configuration or schema.\n");
    return out->data;
}

static enum error find_verb(struct arguments *arguments, const struct verb **ret_verb,
                            struct failure *failure)
{
    const char *first = arguments->operand_count > 0 ? arguments->operands[0] : "";
    const char *second = arguments->operand_count > 1 ? arguments->operands[1] : "";

    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct verb *verb = &verbs[i];
        unsigned words = verb->words[1] ? 2 : 1;
        if (strcmp(verb->words[0], first) != 0 ||
            (words == 2 && strcmp(verb->words[1], second) != 0))
            continue;
        arguments->operand_count -= words;
        memmove(arguments->operands, arguments->operands + words,
                arguments->operand_count * sizeof(arguments->operands[0]));
        if (arguments->operand_count != verb->operand_count)
            return failure_set(failure, ERR_INVALID_REQUEST, "usage: gatewayctl %s%s%s%s", first,
                               words == 2 ? " " : "", words == 2 ? second : "", verb->operands);
        for (unsigned f = 0; f < FLAG__MAX; f++)
            if (arguments->flags[f] && f != FLAG_JSON && !(verb->flags & TAKES(f)))
                return failure_set(failure, ERR_INVALID_REQUEST,
                                   "%s is no flag of gatewayctl %s%s%s", flag_rows[f].name, first,
                                   words == 2 ? " " : "", words == 2 ? second : "");
        *ret_verb = verb;
        return OK;
    }
    return failure_set(failure, ERR_INVALID_REQUEST,
                       *first ? "there is no verb \"%.40s %.40s\"; see gatewayctl --help"
                              : "no verb is given; see gatewayctl --help",
                       first, second);
}

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
    const struct verb *verb;

    buffer_init(&usage, USAGE_MAX);
    log_open("gatewayctl", LOG_WARN);
    int first = options_from_arguments(&ctl.options, argc, argv, write_usage(&usage));
    ctl.arena = arena_new();
    failure.error = arguments_parse(&ctl.arguments, argc - first, argv + first, &failure);
    ctl.json = ctl.arguments.flags[FLAG_JSON] != NULL;
    if (failure.error == OK)
        failure.error = find_verb(&ctl.arguments, &verb, &failure);
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
