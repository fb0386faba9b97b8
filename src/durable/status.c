/* SPDX-License-Identifier: MIT */
#include "durable/status.h"

static const char *const names[WORKFLOW_STATUS_COUNT] = {"PENDING",
                                                         "ENQUEUED",
                                                         "DELAYED",
                                                         "SUCCESS",
                                                         "ERROR",
                                                         "CANCELLED",
                                                         "MAX_RECOVERY_ATTEMPTS_EXCEEDED"};

bool workflow_status_known(struct text name)
{
    for (size_t i = 0; i < WORKFLOW_STATUS_COUNT; i++)
        if (text_is(name, names[i]))
            return true;
    return false;
}

enum error workflow_statuses_parse(struct text list, struct text ret_names[WORKFLOW_STATUS_COUNT],
                                   size_t *ret_count, struct failure *failure)
{
    size_t count = 0;

    for (size_t at = 0, end; at <= list.len; at = end + 1) {
        for (end = at; end < list.len && list.data[end] != ','; end++)
            ;
        struct text name = {list.data + at, end - at};
        while (name.len > 0 && name.data[0] == ' ')
            name = (struct text){name.data + 1, name.len - 1};
        while (name.len > 0 && name.data[name.len - 1] == ' ')
            name.len--;
        if (!workflow_status_known(name))
            return failure_set(
                failure, ERR_INVALID_REQUEST,
                "\"%.*s\" is no status; there are " WORKFLOW_STATUSES
                ", several separated by commas",
                (int)utf8_valid_prefix((struct text){name.data, name.len > 40 ? 40 : name.len}),
                name.data);
        if (count == WORKFLOW_STATUS_COUNT)
            return failure_set(failure, ERR_INVALID_REQUEST, "at most %d statuses, each once",
                               WORKFLOW_STATUS_COUNT);
        ret_names[count++] = name;
    }
    *ret_count = count;
    return OK;
}
