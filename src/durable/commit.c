/* SPDX-License-Identifier: MIT
 *
 * What workflows owe, as the one call of openclaw.workflow_commit, and its answer.
 *
 * What must hold: the call may be sent again after its answer was lost. For a start the token
 * tells our own row from somebody else's; for one that goes on, a second commit finds the fence
 * gone and the outcome written, which is the same outcome.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "durable/run.h"

static const char *const state_status[] = {
    [RUN_ON] = "PENDING",   [RUN_PARKED] = "DELAYED", [RUN_LEFT] = "ENQUEUED",
    [RUN_DONE] = "SUCCESS", [RUN_FAILED] = "ERROR",   [RUN_STOPPED] = "PENDING",
};

/* Columns under construction: arrays of one length, element by element. */
struct columns {
    struct arena *arena;
    size_t count, capacity, width;
    bool integer[16];
    struct text *texts[16];
    int64_t *integers[16];
};

/* kinds: 't' a text, 'i' an integer, in the order of the function's parameters. */
static void columns_init(struct columns *columns, struct arena *arena, const char *kinds,
                         size_t capacity)
{
    memset(columns, 0, sizeof *columns);
    columns->arena = arena;
    columns->capacity = capacity;
    columns->width = strlen(kinds);
    for (size_t i = 0; i < columns->width; i++) {
        columns->integer[i] = kinds[i] == 'i';
        if (columns->integer[i])
            columns->integers[i] = arena_array(arena, capacity ? capacity : 1, sizeof(int64_t));
        else
            columns->texts[i] = arena_array(arena, capacity ? capacity : 1, sizeof(struct text));
    }
}

static void columns_add(struct columns *columns, struct db_call *call)
{
    for (size_t i = 0; i < columns->width; i++) {
        if (columns->integer[i])
            db_add_ints(call, columns->integers[i], columns->count);
        else
            db_add_texts(call, columns->texts[i], columns->count);
    }
}

static struct text inputs_text(const struct workflow *workflow, struct arena *arena)
{
    struct document *inputs = document_object(arena);
    struct document *arguments = document_array(arena);

    if (workflow->input)
        document_append(arguments, document_copy(arena, workflow->input));
    document_put(inputs, "positionalArgs", arguments);
    document_put(inputs, "namedArgs", document_object(arena));
    return document_text(arena, inputs);
}

static void add_workflows(struct db_call *call, struct arena *arena,
                          struct workflow *const *workflows, size_t count)
{
    struct text *texts[8];
    bool *starts = arena_array(arena, count, sizeof *starts);
    int64_t *delays = arena_array(arena, count, sizeof *delays);
    enum { ID, NAME, TOKEN, PRINCIPAL, INPUT, STATUS, OUTPUT, ERROR };

    for (size_t i = 0; i < 8; i++)
        texts[i] = arena_array(arena, count, sizeof(struct text));
    for (size_t i = 0; i < count; i++) {
        struct workflow *workflow = workflows[i];

        texts[ID][i] = text_of(workflow->id);
        texts[NAME][i] = text_of(workflow->definition->name);
        texts[TOKEN][i] = text_of(workflow->token);
        texts[PRINCIPAL][i] = text_of(workflow->principal);
        if (workflow->start && !workflow->input_text.data)
            workflow->input_text = inputs_text(workflow, arena);
        texts[INPUT][i] = workflow->input_text;
        texts[STATUS][i] = text_of(state_status[workflow->state]);
        texts[OUTPUT][i] =
            workflow->state == RUN_DONE ? encode_output(workflow, workflow->output) : TEXT_NONE;
        texts[ERROR][i] =
            workflow->state == RUN_FAILED ? encode_error(workflow, workflow->error) : TEXT_NONE;
        starts[i] = workflow->start;
        delays[i] = workflow->delay_ms;
    }
    db_add_texts(call, texts[ID], count);
    db_add_texts(call, texts[NAME], count);
    db_add_bools(call, starts, count);
    db_add_texts(call, texts[TOKEN], count);
    db_add_texts(call, texts[PRINCIPAL], count);
    db_add_texts(call, texts[INPUT], count);
    db_add_texts(call, texts[STATUS], count);
    db_add_ints(call, delays, count);
    db_add_texts(call, texts[OUTPUT], count);
    db_add_texts(call, texts[ERROR], count);
}

/* Every owed step but the messages, whose checkpoints the function writes, and those whose call
 * does.
 */
static void add_steps(struct db_call *call, struct arena *arena, struct workflow *const *workflows,
                      size_t count, size_t steps)
{
    struct columns c;
    int64_t now = clock_ms();

    columns_init(&c, arena, "iittttii", steps);
    for (size_t i = 0; i < count; i++) {
        for (const struct owed_step *step = workflows[i]->steps; step; step = step->next) {
            if (step->send || step->recorded)
                continue;
            c.integers[0][c.count] = (int64_t)i + 1;
            c.integers[1][c.count] = step->id;
            c.texts[2][c.count] = text_of(step->name);
            c.texts[3][c.count] = step->output;
            c.texts[4][c.count] = step->error;
            c.texts[5][c.count] =
                step->call ? text_of(arena_printf(arena, "%d", step->id)) : TEXT_NONE;
            c.integers[6][c.count] = now - step->started_ms;
            c.integers[7][c.count] = step->finished_ms - step->started_ms;
            c.count++;
        }
    }
    columns_add(&c, call);
}

static void add_sends(struct db_call *call, struct arena *arena, struct workflow *const *workflows,
                      size_t count, size_t steps)
{
    struct columns c;
    int64_t *options = arena_array(arena, steps ? steps * 5 : 1, sizeof *options);

    columns_init(&c, arena, "iitttttit", steps);
    for (size_t i = 0; i < count; i++) {
        for (const struct owed_step *step = workflows[i]->steps; step; step = step->next) {
            const struct workflow_message *send = step->send;

            if (!send)
                continue;
            c.integers[0][c.count] = (int64_t)i + 1;
            c.integers[1][c.count] = step->id;
            c.texts[2][c.count] = text_of(step->name);
            c.texts[3][c.count] = send->to;
            c.texts[4][c.count] = send->id;
            c.texts[5][c.count] = send->message;
            c.texts[6][c.count] = send->from;
            c.integers[7][c.count] = step->awaited ? step->id + 1 : DB_INT_NULL;
            c.texts[8][c.count] = text_of(send->waiter);
            options[c.count * 5] = send->expects_reply;
            options[c.count * 5 + 1] = send->priority;
            options[c.count * 5 + 2] = send->max_attempts;
            options[c.count * 5 + 3] = send->delay_ms;
            options[c.count * 5 + 4] = send->ttl_ms;
            c.count++;
        }
    }
    columns_add(&c, call);
    db_add_ints(call, options, c.count * 5);
}

static void add_events(struct db_call *call, struct arena *arena, struct workflow *const *workflows,
                       size_t count, size_t events)
{
    struct columns c;

    columns_init(&c, arena, "iitt", events);
    for (size_t i = 0; i < count; i++) {
        for (const struct owed_event *event = workflows[i]->events; event; event = event->next) {
            c.integers[0][c.count] = (int64_t)i + 1;
            c.integers[1][c.count] = event->step;
            c.texts[2][c.count] = text_of(event->key);
            c.texts[3][c.count] = event->value;
            c.count++;
        }
    }
    columns_add(&c, call);
}

/* An object for each workflow; one null for all where none has any. */
static void add_attributes(struct db_call *call, struct arena *arena,
                           struct workflow *const *workflows, size_t count)
{
    struct text *attributes = arena_array(arena, count, sizeof *attributes);
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        attributes[i] = workflows[i]->attributes;
        any |= attributes[i].data != NULL;
    }
    if (any)
        db_add_texts(call, attributes, count);
    else
        db_add_null(call);
}

void commit_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                 struct workflow *const *workflows, size_t count, const char *host)
{
    size_t steps = 0, events = 0;
    bool goes_on = false;

    for (size_t i = 0; i < count; i++) {
        for (const struct owed_step *step = workflows[i]->steps; step; step = step->next)
            steps++;
        for (const struct owed_event *event = workflows[i]->events; event; event = event->next)
            events++;
        goes_on |= strcmp(state_status[workflows[i]->state], "PENDING") == 0;
    }
    db_call_init(call, arena, STATEMENT_WORKFLOW_COMMIT);
    db_add_string(call, goes_on ? engine->executor.id : NULL);
    db_add_string(call, engine->options->app_name);
    db_add_string(call, engine->options->app_version);
    db_add_bool(call, engine->options->legacy_payloads != 0);
    db_add_bool(call, engine->options->auto_provision != 0);
    db_add_int(call, engine->options->inbox_limit);
    add_workflows(call, arena, workflows, count);
    add_steps(call, arena, workflows, count, steps);
    add_sends(call, arena, workflows, count, steps);
    add_events(call, arena, workflows, count, events);
    add_attributes(call, arena, workflows, count);
    db_add_string(call, host);
}

static const struct {
    const char *name;
    enum workflow_outcome_kind kind;
} outcomes[] = {
    {"committed", WORKFLOW_COMMITTED}, {"exists", WORKFLOW_EXISTS},
    {"conflict", WORKFLOW_CONFLICT},   {"fenced", WORKFLOW_FENCED},
    {"refused", WORKFLOW_REFUSED},
};

static const struct workflow_message *message_of(const struct workflow *workflow)
{
    const struct owed_step *step = workflow->steps;

    while (step && !step->send)
        step = step->next;
    return step ? step->send : NULL;
}

/* The next word of what openclaw.inbox_hand_over says. */
static struct text next_word(struct text *left)
{
    const char *space = left->data ? memchr(left->data, ' ', left->len) : NULL;
    struct text word = *left;

    if (space)
        word.len = (size_t)(space - left->data);
    *left = space ? (struct text){space + 1, left->len - word.len - 1} : TEXT_NONE;
    return word;
}

static void read_hand_over(struct workflow_hand_over *hand_over, const struct workflow *workflow,
                           struct text words)
{
    struct text holder = next_word(&words);

    hand_over->message = message_of(workflow);
    if (!holder.data || !hand_over->message ||
        text_int64(next_word(&words), 1, INT64_MAX, &hand_over->epoch) != OK ||
        text_int64(next_word(&words), 1, INT64_MAX, &hand_over->lease_expires_at) != OK)
        return;
    hand_over->delivery_id = words;
    hand_over->holder = holder;
}

static void read_outcome(struct workflow *workflow, struct db_rows *rows, size_t row)
{
    struct workflow_outcome *outcome = &workflow->outcome;
    struct text kind = db_text(rows, row, 1);

    memset(outcome, 0, sizeof *outcome);
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (text_is(kind, outcomes[i].name))
            outcome->kind = outcomes[i].kind;
    if (outcome->kind == WORKFLOW_REFUSED) {
        struct text reason = db_text(rows, row, 2);

        outcome->reason = reason.data ? error_from_code(reason.data, reason.len) : ERR_INTERNAL;
        failure_set(&outcome->failure, outcome->reason, "%s", "");
    }
    outcome->status = db_text(rows, row, 3);
    outcome->output = db_text(rows, row, 4);
    outcome->error = db_text(rows, row, 5);
    outcome->inbox_seq = db_int_or(rows, row, 6, 0);
    outcome->now_ms = db_int(rows, row, 7);
    outcome->bells = db_texts(rows, row, 8, &outcome->bell_count);
    read_hand_over(&outcome->hand_over, workflow, db_text(rows, row, 9));
}

enum error commit_result(struct workflow *const *workflows, size_t count, struct db_rows *rows,
                         struct failure *failure)
{
    if (db_rows_count(rows) != count)
        return failure_set(failure, ERR_CARDINALITY, "workflow_commit answered %zu of %zu",
                           db_rows_count(rows), count);
    for (size_t row = 0; row < count; row++) {
        int64_t ord = db_int(rows, row, 0);

        if (ord < 1 || (uint64_t)ord > count)
            return failure_set(failure, ERR_CARDINALITY, "workflow_commit answered for another");
        read_outcome(workflows[ord - 1], rows, row);
    }
    return db_rows_error(rows, failure);
}

/* What was committed is, for the rest of this run, what a replay would find. */
static void owed_to_checkpoints(struct workflow *workflow)
{
    size_t count = workflow->checkpoint_count;
    struct checkpoint *all;

    for (const struct owed_step *step = workflow->steps; step; step = step->next)
        count++;
    all = arena_array(workflow->arena, count ? count : 1, sizeof *all);
    if (workflow->checkpoint_count)
        memcpy(all, workflow->checkpoints, workflow->checkpoint_count * sizeof *all);
    for (const struct owed_step *step = workflow->steps; step; step = step->next) {
        struct text output = step->output;

        if (step->send)
            output = text_of(arena_printf(workflow->arena, "{\"inboxSeq\":%lld}",
                                          (long long)workflow->outcome.inbox_seq));
        all[workflow->checkpoint_count++] = (struct checkpoint){
            .id = step->id,
            .name = text_of(step->name),
            .output = output,
            .error = step->error,
            .serialization = step->serialization,
        };
    }
    workflow->checkpoints = all;
    workflow->steps = NULL;
    workflow->steps_end = &workflow->steps;
    workflow->events = NULL;
    workflow->events_end = &workflow->events;
    workflow->call = NULL;
    workflow->start = false;
}

/* The step that was owed could not have its effect: that is how the workflow ends. */
static void fail_owed(struct workflow *workflow, const struct failure *failure)
{
    struct owed_step **link = &workflow->steps;

    workflow->failure = *failure;
    workflow->error = portable_error(workflow->arena, failure);
    while (*link && !(*link)->send && !(*link)->call)
        link = &(*link)->next;
    if (*link) {
        (*link)->send = NULL;
        (*link)->call = NULL;
        (*link)->recorded = false;
        (*link)->error = workflow->error;
        (*link)->next = NULL; /* what came after it has not been */
        workflow->steps_end = &(*link)->next;
    }
    workflow->call = NULL;
    workflow->events = NULL;
    workflow->events_end = &workflow->events;
    workflow->state = RUN_FAILED;
}

/* One transaction: the effect, if there is one, behind the fence, and the checkpoints. */
static enum error commit_once(struct workflow *workflow, struct failure *failure)
{
    struct db_rows *rows = NULL, *effect = NULL;
    struct db_call fence, commit;
    enum error error;

    commit_call(&commit, workflow->arena, workflow->engine, &workflow, 1, NULL);
    if (!workflow->call) {
        error = db_run(workflow->db, &commit, failure, &rows);
    } else {
        struct db_tx *tx = db_tx_begin(workflow->db, workflow->arena);

        db_call_init(&fence, workflow->arena, STATEMENT_WORKFLOW_FENCE);
        db_add_string(&fence, workflow->id);
        db_add_string(&fence, workflow->token);
        db_tx_call(tx, &fence, NULL);
        db_tx_call(tx, workflow->call->call, &effect);
        db_tx_call(tx, &commit, &rows);
        error = db_tx_commit(tx, failure);
        if (!error)
            workflow->call->output = db_text(effect, 0, 0);
        if (!error && workflow->call->recorded)
            workflow->call->serialization = db_text(effect, 0, 1);
    }
    return error ? error : commit_result(&workflow, 1, rows, failure);
}

/* A failure is not the commit's: who listens also looks by itself. */
void give_notices(struct workflow *workflow)
{
    struct text *channels, *payloads;
    struct failure failure = {0};
    struct db_rows *rows;
    struct db_call call;
    size_t count = 0;

    for (const struct owed_notice *notice = workflow->notices; notice; notice = notice->next)
        count++;
    if (count == 0)
        return;
    channels = arena_array(workflow->arena, count, sizeof *channels);
    payloads = arena_array(workflow->arena, count, sizeof *payloads);
    count = 0;
    for (const struct owed_notice *notice = workflow->notices; notice; notice = notice->next) {
        channels[count] = text_of(notice->channel);
        payloads[count++] = notice->payload;
    }
    workflow->notices = NULL;
    db_call_init(&call, workflow->arena, STATEMENT_DBOS_NOTIFY);
    db_add_texts(&call, channels, count);
    db_add_texts(&call, payloads, count);
    if (db_run(workflow->db, &call, &failure, &rows) != OK)
        log_failure("workflow.notify", &failure);
}

#define COMMIT_TRIES 5

enum error commit_run(struct workflow *workflow, struct failure *failure)
{
    enum error error = OK;

    for (int try = 0; try < COMMIT_TRIES; try++) {
        if (try > 0)
            clock_sleep_ms(clock_jitter_ms(20 << try));
        error = commit_once(workflow, failure);
        if (error == ERR_FENCED) {
            workflow->outcome.kind = WORKFLOW_FENCED;
            error = OK;
        }
        if (error && error_retry(error) == RETRY_NEVER && workflow->call &&
            workflow->state != RUN_FAILED) {
            fail_owed(workflow, failure);
            try = 0;
            continue;
        }
        if (!error && workflow->outcome.kind == WORKFLOW_REFUSED && !workflow->start &&
            workflow->state != RUN_FAILED) {
            fail_owed(workflow, &workflow->outcome.failure);
            continue;
        }
        if (!error || error_retry(error) == RETRY_NEVER)
            break;
    }
    if (error)
        return error;
    if (workflow->outcome.kind == WORKFLOW_COMMITTED) {
        owed_to_checkpoints(workflow);
        give_notices(workflow);
        return OK;
    }
    workflow->state = RUN_STOPPED;
    if (workflow->outcome.kind == WORKFLOW_FENCED)
        log_event(LOG_INFO, "workflow.fenced", LOG_STR("workflow", workflow->id));
    return OK;
}
