/* SPDX-License-Identifier: MIT
 *
 * Workflows that only tests use; compiled with --enable-test-workflows, never into a release.
 *
 *   canonicalWorkflow  what the official SDKs' interoperability tests run, with the same golden
 * texts testScript         does what its first argument says, an array of operations, each an array
 * of a name and its arguments; its output is the array of their results
 *
 *     ["step", VALUE, PAUSE_MS]     external; appends its key to the file `test-steps` in
 * RUNTIME_DIR
 *     ["sleep", MS]                 ["recv", TOPIC, TIMEOUT_MS]    ["send", ID, TOPIC, MESSAGE]
 *     ["setEvent", KEY, VALUE]      ["getEvent", ID, KEY, TIMEOUT_MS]
 *     ["write", KEY, VALUE]         ["close", KEY]                 ["stepWrite", KEY, VALUE,
 * PAUSE_MS]
 *     ["child", NAME, ARGUMENTS, APPLICATION, QUEUE]               ["result", ID]
 *     ["call", NAME, ARGUMENTS, APPLICATION, QUEUE]                child and result
 *     ["patch", NAME]               ["fail", NAME, MESSAGE, CODE, DATA]
 *     ["arguments"]                 all arguments but the first
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "workflow/workflows.h"

static int compare_keys(const void *a, const void *b)
{
    const struct text *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->data, y->data, len);

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static struct document *sorted_keys(struct arena *arena, const struct document *object)
{
    size_t count = document_count(object);
    struct text *keys = arena_array(arena, count + 1, sizeof *keys);
    struct document *array = document_array(arena);

    for (size_t i = 0; i < count; i++)
        keys[i] = document_key(object, i);
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++)
        document_append(array, document_from_text(arena, keys[i]));
    return array;
}

enum error canonical_workflow(struct workflow *workflow)
{
    struct arena *arena = workflow_arena(workflow);
    struct document *in = workflow_arguments(workflow);
    struct document *text = document_at(in, 0), *number = document_at(in, 1);
    struct document *flag = document_at(in, 5), *received = NULL;
    struct document *event = document_object(arena), *item = document_object(arena);
    struct document *output = document_object(arena);
    enum error error;

    document_put(event, "text", document_copy(arena, text));
    document_put(event, "num", document_copy(arena, number));
    document_put(event, "flag", document_copy(arena, flag));
    error = workflow_set_event(workflow, "interop_status", event);
    if (error)
        return error;
    document_put(item, "item", document_copy(arena, text));
    error = workflow_stream_write(workflow, "interop_stream", item);
    if (error)
        return error;
    error = workflow_recv(workflow, "interop_topic", 60000, &received);
    if (error)
        return error;
    document_put(output, "echo_text", document_copy(arena, text));
    document_put(output, "echo_num", document_copy(arena, number));
    document_put(output, "echo_dt", document_copy(arena, document_at(in, 2)));
    document_put_int(output, "items_count", (int64_t)document_count(document_at(in, 3)));
    document_put(output, "meta_keys", sorted_keys(arena, document_at(in, 4)));
    document_put(output, "flag", document_copy(arena, flag));
    document_put(output, "empty", document_copy(arena, document_at(in, 6)));
    document_put(output, "received", document_copy(arena, received));
    return workflow_finish(workflow, output);
}

/* ---- testScript ---------------------------------------------------------------------------------
 */

struct operation {
    const char *name;
    enum error (*run)(struct workflow *workflow, struct document *operation,
                      struct document **ret_result);
};

static const char *string_at(struct workflow *workflow, const struct document *operation,
                             size_t index)
{
    struct text text = document_string(document_at(operation, index));

    return text.data ? arena_text(workflow_arena(workflow), text).data : NULL;
}

/* Tells, outside the database, that the step ran. */
static enum error go_outside(struct workflow *workflow, void *context, struct document **ret_output)
{
    const struct document *operation = context;
    bool writes = text_is(document_string(document_at(operation, 0)), "stepWrite");
    const struct document *value = document_at(operation, writes ? 2 : 1);
    struct arena *arena = workflow_arena(workflow);
    const char *line = arena_printf(arena, "%s\n", workflow_step_key(workflow));
    int file = open(arena_printf(arena, "%s/test-steps", workflow_options(workflow)->runtime_dir),
                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    bool written = file >= 0 && write(file, line, strlen(line)) == (ssize_t)strlen(line);
    enum error error = OK;

    if (file >= 0)
        close(file);
    if (!written)
        return failure_set(workflow_failure(workflow), ERR_INTERNAL, "cannot write test-steps");
    if (writes)
        error = workflow_step_stream(workflow, string_at(workflow, operation, 1),
                                     document_copy(arena, value));
    clock_sleep_ms(document_int(document_at(operation, writes ? 3 : 2), 0));
    *ret_output = document_copy(arena, value);
    return error;
}

static enum error run_step(struct workflow *workflow, struct document *operation,
                           struct document **ret_result)
{
    return workflow_step_external(workflow, "testStep", go_outside, operation, ret_result);
}

static enum error run_sleep(struct workflow *workflow, struct document *operation,
                            struct document **ret_result)
{
    (void)ret_result;
    return workflow_sleep(workflow, document_int(document_at(operation, 1), 0));
}

static enum error run_recv(struct workflow *workflow, struct document *operation,
                           struct document **ret_result)
{
    return workflow_recv(workflow, string_at(workflow, operation, 1),
                         document_int(document_at(operation, 2), 60000), ret_result);
}

static enum error run_send(struct workflow *workflow, struct document *operation,
                           struct document **ret_result)
{
    (void)ret_result;
    return workflow_send(workflow, document_string(document_at(operation, 1)),
                         string_at(workflow, operation, 2),
                         document_copy(workflow_arena(workflow), document_at(operation, 3)));
}

static enum error run_set_event(struct workflow *workflow, struct document *operation,
                                struct document **ret_result)
{
    (void)ret_result;
    return workflow_set_event(workflow, string_at(workflow, operation, 1),
                              document_copy(workflow_arena(workflow), document_at(operation, 2)));
}

static enum error run_get_event(struct workflow *workflow, struct document *operation,
                                struct document **ret_result)
{
    return workflow_get_event(workflow, document_string(document_at(operation, 1)),
                              string_at(workflow, operation, 2),
                              document_int(document_at(operation, 3), 60000), ret_result);
}

static enum error run_write(struct workflow *workflow, struct document *operation,
                            struct document **ret_result)
{
    (void)ret_result;
    return workflow_stream_write(
        workflow, string_at(workflow, operation, 1),
        document_copy(workflow_arena(workflow), document_at(operation, 2)));
}

static enum error run_close(struct workflow *workflow, struct document *operation,
                            struct document **ret_result)
{
    (void)ret_result;
    return workflow_stream_close(workflow, string_at(workflow, operation, 1));
}

static enum error run_child(struct workflow *workflow, struct document *operation,
                            struct document **ret_result)
{
    struct workflow_child child = {
        .name = string_at(workflow, operation, 1),
        .arguments = document_at(operation, 2),
        .application = string_at(workflow, operation, 3),
        .queue = string_at(workflow, operation, 4),
    };
    const char *id = NULL;
    enum error error = workflow_start_child(workflow, &child, &id);

    *ret_result = document_from_text(workflow_arena(workflow), text_of(id));
    return error;
}

static enum error run_result(struct workflow *workflow, struct document *operation,
                             struct document **ret_result)
{
    return workflow_result(workflow, string_at(workflow, operation, 1), ret_result);
}

/* A child and its result in one. */
static enum error run_call(struct workflow *workflow, struct document *operation,
                           struct document **ret_result)
{
    struct document *id = NULL;
    enum error error = run_child(workflow, operation, &id);

    if (error)
        return error;
    return workflow_result(workflow, arena_text(workflow_arena(workflow), document_string(id)).data,
                           ret_result);
}

static enum error run_patch(struct workflow *workflow, struct document *operation,
                            struct document **ret_result)
{
    *ret_result = document_from_bool(workflow_arena(workflow),
                                     workflow_patch(workflow, string_at(workflow, operation, 1)));
    return OK;
}

static enum error run_fail(struct workflow *workflow, struct document *operation,
                           struct document **ret_result)
{
    (void)ret_result;
    return workflow_fail(workflow, string_at(workflow, operation, 1),
                         document_string(document_at(operation, 2)), document_at(operation, 3),
                         document_at(operation, 4));
}

static enum error run_arguments(struct workflow *workflow, struct document *operation,
                                struct document **ret_result)
{
    const struct document *all = workflow_arguments(workflow);
    struct arena *arena = workflow_arena(workflow);

    (void)operation;
    *ret_result = document_array(arena);
    for (size_t i = 1; i < document_count(all); i++)
        document_append(*ret_result, document_copy(arena, document_at(all, i)));
    return OK;
}

static const struct operation operations[] = {
    {"step", run_step},          {"stepWrite", run_step}, {"sleep", run_sleep},
    {"recv", run_recv},          {"send", run_send},      {"setEvent", run_set_event},
    {"getEvent", run_get_event}, {"write", run_write},    {"close", run_close},
    {"child", run_child},        {"result", run_result},  {"patch", run_patch},
    {"call", run_call},          {"fail", run_fail},      {"arguments", run_arguments},
};

enum error test_script(struct workflow *workflow)
{
    struct document *script = workflow_input(workflow);
    struct arena *arena = workflow_arena(workflow);
    struct document *results = document_array(arena);

    for (size_t i = 0; i < document_count(script); i++) {
        struct document *operation = document_at(script, i);
        struct document *result = NULL;
        enum error error = failure_set(workflow_failure(workflow), ERR_INVALID_REQUEST,
                                       "operation %zu is unknown", i);

        for (size_t n = 0; n < sizeof operations / sizeof *operations; n++)
            if (text_is(document_string(document_at(operation, 0)), operations[n].name))
                error = operations[n].run(workflow, operation, &result);
        if (error)
            return error;
        document_append(results, result ? document_copy(arena, result) : document_null(arena));
    }
    return workflow_finish(workflow, results);
}

/* What a schedule starts: its arguments are the time and the schedule's context; of an object its
 * members are in the output. */
enum error test_schedule(struct workflow *workflow)
{
    struct document *arguments = workflow_arguments(workflow);
    struct document *context = document_at(arguments, 1);
    struct arena *arena = workflow_arena(workflow);
    struct document *output = document_object(arena);

    document_put(output, "at", document_copy(arena, document_at(arguments, 0)));
    for (size_t i = 0; document_kind(context) == DOCUMENT_OBJECT && i < document_count(context);
         i++) {
        const char *key = arena_text(arena, document_key(context, i)).data;
        document_put(output, key, document_copy(arena, document_get(context, key)));
    }
    return workflow_finish(workflow, output);
}
