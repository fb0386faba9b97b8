/* SPDX-License-Identifier: MIT
 *
 * The durable engine against a real database: steps, replay, fence, effects, parking, batches.
 * The workflows are the test's own; what an external step does is counted outside the database,
 * so that a second run of it would be seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "durable/engine.h"

static struct options options = {
#define OPTION_TEXT(field, name, otherwise, check, help)     .field = otherwise,
#define OPTION_INT(field, name, otherwise, min, max, help)   .field = otherwise,
#define OPTION_CHOICE(field, name, otherwise, choices, help) .field = 0,
#define OPTION_SECRET(field, name, help)                     .field = "",
#include "base/option.def"
#undef OPTION_TEXT
#undef OPTION_INT
#undef OPTION_CHOICE
#undef OPTION_SECRET
};

static struct engine engine, other; /* two executors */
static struct db *db, *second;      /* their connections */
static struct arena *arena;
static struct failure failure;
static int externals;                   /* runs of the external step */
static enum error (*in_external)(void); /* what happens inside it */

/* ---- the workflows ----------------------------------------------------------------------------
 */

static enum error give_number(struct workflow *workflow, void *context,
                              struct document **ret_output)
{
    *ret_output = document_from_int(workflow_arena(workflow), *(int *)context);
    return OK;
}

static enum error go_outside(struct workflow *workflow, void *context, struct document **ret_output)
{
    (void)context;
    externals++;
    if (in_external) {
        enum error error = in_external();

        if (error)
            return failure_set(workflow_failure(workflow), error, "outside");
    }
    *ret_output =
        document_from_text(workflow_arena(workflow), text_of(workflow_step_key(workflow)));
    return OK;
}

static enum error provision(struct workflow *workflow, const char *agent,
                            struct document **ret_output)
{
    struct db_call *call = arena_alloc(workflow_arena(workflow), sizeof *call);

    db_call_init(call, workflow_arena(workflow), STATEMENT_AGENT_PROVISION);
    db_add_string(call, agent);
    db_add_string(call, options.app_name);
    db_add_string(call, options.app_version);
    db_add_string(call, arena_printf(workflow_arena(workflow), "%d", workflow_next_step(workflow)));
    db_add_string(call, "tester");
    return workflow_step_call(workflow, "createAgent", call, ret_output);
}

/* pure, external, transactional, and a result made of all three */
static enum error three_kinds(struct workflow *workflow)
{
    struct document *number = NULL, *key = NULL, *agent = NULL;
    int seven = 7;
    enum error error;

    error = workflow_step_pure(workflow, "giveNumber", give_number, &seven, &number);
    if (error)
        return error;
    workflow_event(workflow, "numbered", NULL);
    error = workflow_step_external(workflow, "goOutside", go_outside, NULL, &key);
    if (error)
        return error;
    error = provision(workflow, "carol", &agent);
    if (error)
        return error;
    return workflow_finish(
        workflow, document_put_text(
                      document_put_text(document_put_int(document_object(workflow_arena(workflow)),
                                                         "number", document_int(number, 0)),
                                        "key", document_string(key)),
                      "agent", document_get_string(agent, "agentId")));
}

/* an effect that the database refuses: "operator" is no agent */
static enum error bad_effect(struct workflow *workflow)
{
    struct document *agent = NULL;
    int one = 1;
    enum error error = workflow_step_pure(workflow, "giveNumber", give_number, &one, NULL);

    if (!error)
        error = provision(workflow, "operator", &agent);
    return error ? error : workflow_finish(workflow, agent);
}

static enum error sleeper(struct workflow *workflow)
{
    int one = 1;
    enum error error = workflow_step_pure(workflow, "giveNumber", give_number, &one, NULL);

    if (!error)
        error = workflow_sleep(workflow, document_int(workflow_input(workflow), 0));
    if (!error)
        error = workflow_step_external(workflow, "goOutside", go_outside, NULL, NULL);
    return error ? error : workflow_finish(workflow, NULL);
}

static const struct workflow_definition definitions[] = {
    {"threeKinds", three_kinds, "", true},
    {"badEffect", bad_effect, "", true},
    {"sleeper", sleeper, "", true},
    {NULL, NULL, NULL, false},
};

/* the same names, other code: the second step is called differently */
static enum error renamed(struct workflow *workflow)
{
    int seven = 7;
    enum error error = workflow_step_pure(workflow, "giveNumber", give_number, &seven, NULL);

    if (!error)
        error = workflow_step_external(workflow, "goElsewhere", go_outside, NULL, NULL);
    return error ? error : workflow_finish(workflow, NULL);
}
static const struct workflow_definition changed[] = {
    {"threeKinds", renamed, "", true},
    {NULL, NULL, NULL, false},
};

/* ---- asking -------------------------------------------------------------------------------------
 */

static enum error start(const char *name, const char *id, struct workflow_outcome *ret_outcome)
{
    return engine_start(&engine, db, arena,
                        &(struct workflow_start){
                            .definition = engine_find(&engine, text_of(name)),
                            .id = text_of(id),
                            .principal = text_of("tester"),
                            .input = document_from_int(arena, 300),
                        },
                        &failure, ret_outcome);
}

static struct db_rows *ask(enum statement statement, const char *id)
{
    struct db_rows *rows = NULL;
    struct db_call call;

    db_call_init(&call, arena, statement);
    db_add_string(&call, id);
    if (statement == STATEMENT_WORKFLOW_GET) {
        db_add_null(&call); /* by no other id */
        db_add_null(&call); /* whosever it is */
    }
    assert_int_equal(db_run(second, &call, &failure, &rows), OK);
    return rows;
}

static void assert_status(const char *id, const char *status)
{
    struct db_rows *rows = ask(STATEMENT_WORKFLOW_GET, id);

    assert_int_equal(db_rows_count(rows), 1);
    assert_string_equal(db_text(rows, 0, 1).data, status);
}

static void assert_steps(const char *id, size_t count, const char *const *names)
{
    struct db_rows *rows = ask(STATEMENT_WORKFLOW_STEPS, id);

    assert_int_equal(db_rows_count(rows), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(db_int(rows, i, 0), i);
        assert_string_equal(db_text(rows, i, 1).data, names[i]);
        assert_true(db_int(rows, i, 5) <= db_int(rows, i, 6));
        assert_string_equal(db_text(rows, i, 7).data, "portable_json");
    }
}

static void script(const char *sql)
{
    enum error error = db_run_script(second, sql, &failure);

    if (error)
        print_error("%s\n", failure.detail);
    assert_int_equal(error, OK);
}

static void recover(const struct engine *of)
{
    struct text id = text_of(of->executor.id);
    struct db_rows *rows;
    struct db_call call;

    db_call_init(&call, arena, STATEMENT_WORKFLOW_RECOVER);
    db_add_texts(&call, &id, 1);
    assert_int_equal(db_run(second, &call, &failure, &rows), OK);
}

static int run_queued(const struct engine *by)
{
    int claimed = 0;
    enum error error = engine_run_queued(by, second, 10, &failure, &claimed);

    assert_int_equal(error, OK);
    return claimed;
}

static const char *const three_names[] = {"giveNumber", "goOutside", "createAgent"};

/* ---- the tests
 * ------------------------------------------------------------------------------------ */

static void test_runs_to_the_end(void **state)
{
    struct workflow_outcome outcome;

    (void)state;
    assert_int_equal(start("threeKinds", "w-end", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_COMMITTED);
    assert_string_equal(outcome.output.data,
                        "{\"number\":7,\"key\":\"w-end/1\",\"agent\":\"carol\"}");
    assert_status("w-end", "SUCCESS");
    assert_steps("w-end", 3, three_names);
    assert_int_equal(externals, 1);
    assert_int_equal(db_rows_count(ask(STATEMENT_WORKFLOW_EVENTS, "w-end")), 1);

    /* the same start again is the same workflow, and runs nothing */
    assert_int_equal(start("threeKinds", "w-end", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_EXISTS);
    assert_string_equal(outcome.status.data, "SUCCESS");
    assert_int_equal(externals, 1);

    /* another workflow under this id is not */
    assert_int_equal(start("badEffect", "w-end", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_CONFLICT);
}

static enum error database_away(void)
{
    return externals == 1 ? ERR_UNAVAILABLE : OK;
}

static void test_goes_on_from_its_last_checkpoint(void **state)
{
    struct workflow_outcome outcome;

    (void)state;
    in_external = database_away;
    assert_int_equal(start("threeKinds", "w-again", &outcome), ERR_UNAVAILABLE);
    assert_status("w-again", "PENDING");
    assert_steps("w-again", 1, three_names);
    assert_int_equal(run_queued(&other), 0); /* it has an owner */

    recover(&engine);
    assert_int_equal(run_queued(&other), 1);
    assert_status("w-again", "SUCCESS");
    assert_steps("w-again", 3, three_names);
    assert_int_equal(externals, 2);
}

/* While the first owner is outside, another recovers the workflow and runs it to its end. */
static enum error taken_over(void)
{
    if (externals > 1)
        return OK;
    recover(&engine);
    assert_int_equal(run_queued(&other), 1);
    return OK;
}

static void test_fences_the_former_owner(void **state)
{
    struct workflow_outcome outcome;
    struct db_rows *rows;

    (void)state;
    in_external = taken_over;
    assert_int_equal(start("threeKinds", "w-fence", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_FENCED);
    assert_status("w-fence", "SUCCESS");
    assert_steps("w-fence", 3, three_names);
    assert_int_equal(externals, 2); /* outside: at least once */
    rows = ask(STATEMENT_WORKFLOW_GET, "w-fence");
    assert_int_equal(db_int(rows, 0, 12), 2); /* claimed twice */
}

static enum error cancelled(void)
{
    script("update dbos_system.workflow_status set status = 'CANCELLED', owner_xid = null "
           "where workflow_uuid = 'w-cancel'");
    return OK;
}

static void test_stops_when_cancelled(void **state)
{
    struct workflow_outcome outcome;

    (void)state;
    in_external = cancelled;
    assert_int_equal(start("threeKinds", "w-cancel", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_FENCED);
    assert_status("w-cancel", "CANCELLED");
    assert_steps("w-cancel", 1, three_names); /* what it owed was not written */
}

static enum error refused_outside(void)
{
    return ERR_FORBIDDEN;
}

static void test_a_failed_step_is_the_outcome(void **state)
{
    struct workflow_outcome outcome;
    struct db_rows *rows;

    (void)state;
    in_external = refused_outside;
    assert_int_equal(start("threeKinds", "w-fail", &outcome), OK);
    assert_status("w-fail", "ERROR");
    assert_steps("w-fail", 2, three_names);
    rows = ask(STATEMENT_WORKFLOW_GET, "w-fail");
    assert_string_equal(db_text(rows, 0, 7).data,
                        "{\"name\":\"GatewayError\",\"message\":\"not allowed: outside\","
                        "\"code\":\"FORBIDDEN\"}");
}

static void test_a_refused_effect_is_the_outcome(void **state)
{
    static const char *const names[] = {"giveNumber", "createAgent"};
    struct workflow_outcome outcome;
    struct db_rows *rows;

    (void)state;
    assert_int_equal(start("badEffect", "w-effect", &outcome), OK);
    assert_int_equal(outcome.kind, WORKFLOW_COMMITTED);
    assert_non_null(strstr(outcome.error.data, "operator is the name of a principal"));
    assert_status("w-effect", "ERROR");
    assert_steps("w-effect", 2, names);
    rows = ask(STATEMENT_WORKFLOW_STEPS, "w-effect");
    assert_true(db_is_null(rows, 0, 3));
    assert_false(db_is_null(rows, 1, 3));
    assert_int_equal(db_rows_count(ask(STATEMENT_WORKFLOW_GET, "agent:operator")), 0);
}

static void test_changed_code_is_found_out(void **state)
{
    struct engine newer = other;
    struct workflow_outcome outcome;

    (void)state;
    newer.definitions = changed;
    in_external = database_away;
    externals = 0;
    assert_int_equal(start("threeKinds", "w-changed", &outcome), ERR_UNAVAILABLE);
    script("update dbos_system.operation_outputs set function_name = 'wasOtherwise' "
           "where workflow_uuid = 'w-changed'");
    recover(&engine);
    assert_int_equal(run_queued(&newer), 1);
    assert_status("w-changed", "ERROR");
    assert_int_equal(externals, 1);
}

static void test_sleeps_without_a_process(void **state)
{
    static const char *const names[] = {"giveNumber", "DBOS.sleep", "goOutside"};
    struct workflow_outcome outcome;
    int64_t deadline = clock_ms() + 30000;

    (void)state;
    assert_int_equal(start("sleeper", "w-sleep", &outcome), OK);
    assert_status("w-sleep", "DELAYED");
    assert_int_equal(externals, 0);
    script("update dbos_system.workflow_status set status = 'ENQUEUED', "
           "queue_name = '_dbos_internal_queue' where workflow_uuid = 'w-sleep'");
    run_queued(&other); /* woken too early: it goes on sleeping, or it was time already */
    while (externals == 0 && clock_ms() < deadline) {
        struct db_rows *rows;
        struct db_call call;

        clock_sleep_ms(20);
        db_call_init(&call, arena, STATEMENT_WORKFLOW_WAKE);
        db_add_string(&call, options.app_name);
        db_add_int(&call, 10);
        assert_int_equal(db_run(second, &call, &failure, &rows), OK);
        run_queued(&other);
    }
    assert_status("w-sleep", "SUCCESS");
    assert_steps("w-sleep", 3, names);
    assert_int_equal(externals, 1);
}

static void test_a_batch_goes_to_its_first_barrier(void **state)
{
    struct workflow_batch *batch = workflow_batch_new(arena, &engine);
    struct db_rows *rows;
    struct db_call call;

    (void)state;
    for (int i = 0; i < 3; i++)
        workflow_batch_start(batch, &(struct workflow_start){
                                        .definition = &definitions[0],
                                        .id = text_of(arena_printf(arena, "w-batch-%d", i)),
                                        .principal = text_of("tester"),
                                        .input = document_from_int(arena, i),
                                    });
    assert_true(workflow_batch_call(batch, &call));
    /* the answer was lost: the same call again does nothing more */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(db_run(second, &call, &failure, &rows), OK);
        assert_int_equal(workflow_batch_result(batch, rows, &failure), OK);
        for (size_t j = 0; j < 3; j++)
            assert_int_equal(workflow_batch_outcome(batch, j)->kind, WORKFLOW_COMMITTED);
    }
    assert_int_equal(externals, 0);
    assert_status("w-batch-2", "ENQUEUED");
    assert_int_equal(run_queued(&other), 3);
    assert_int_equal(externals, 3);
    assert_status("w-batch-2", "SUCCESS");
    assert_steps("w-batch-2", 3, three_names);
}

static void test_unreadable_input_fails_visibly(void **state)
{
    struct db_rows *rows;

    (void)state;
    script("insert into dbos_system.workflow_status (workflow_uuid, status, name, queue_name, "
           "serialization) values ('w-pickle', 'ENQUEUED', 'threeKinds', '_dbos_internal_queue', "
           "'py_pickle');"
           "insert into dbos_system.workflow_input (workflow_uuid, inputs) values ('w-pickle', "
           "'gASV')");
    assert_int_equal(run_queued(&other), 1);
    assert_status("w-pickle", "ERROR");
    rows = ask(STATEMENT_WORKFLOW_GET, "w-pickle");
    assert_string_equal(db_text(rows, 0, 4).data, "portable_json");
}

static void test_answers_a_native_client_in_its_form(void **state)
{
    struct db_rows *rows;

    (void)state;
    script("insert into dbos_system.workflow_status (workflow_uuid, status, name, queue_name, "
           "serialization) values ('w-native', 'ENQUEUED', 'threeKinds', '_dbos_internal_queue', "
           "'js_superjson');"
           "insert into dbos_system.workflow_input (workflow_uuid, inputs) values ('w-native', "
           "'{\"json\":[5],\"__dbos_serializer\":\"superjson\"}')");
    assert_int_equal(run_queued(&other), 1);
    rows = ask(STATEMENT_WORKFLOW_GET, "w-native");
    assert_string_equal(db_text(rows, 0, 6).data,
                        "{\"json\":{\"number\":7,\"key\":\"w-native/1\",\"agent\":\"carol\"},"
                        "\"__dbos_serializer\":\"superjson\"}");
}

static void test_a_workflow_that_kills_its_executors_ends(void **state)
{
    (void)state;
    script("insert into dbos_system.workflow_status (workflow_uuid, status, name, queue_name, "
           "serialization, recovery_attempts) values ('w-killer', 'ENQUEUED', 'threeKinds', "
           "'_dbos_internal_queue', 'portable_json', 101)");
    assert_int_equal(run_queued(&other), 0);
    assert_status("w-killer", "MAX_RECOVERY_ATTEMPTS_EXCEEDED");
    assert_int_equal(externals, 0);
}

/* One workflow waits outside for another one, which only another thread can run meanwhile. */
static volatile int released;
static enum error wait_outside(void)
{
    int64_t deadline = clock_ms() + 20000;

    if (externals > 1) {
        released = 1;
        return OK;
    }
    while (!released && clock_ms() < deadline)
        clock_sleep_ms(5);
    return released ? OK : ERR_INTERNAL;
}

static void enqueue(const char *id)
{
    script(arena_printf(
        arena,
        "insert into dbos_system.workflow_status (workflow_uuid, status, name, queue_name, "
        "serialization) values ('%s', 'ENQUEUED', 'threeKinds', '_dbos_internal_queue', "
        "'portable_json')",
        id));
}

static void test_workers_run_at_the_same_time(void **state)
{
    struct engine_workers *workers = engine_workers_start(&other, 3);
    int64_t deadline = clock_ms() + 30000;
    int64_t ran = 0, failed = 0, sum = 0;

    (void)state;
    in_external = wait_outside;
    enqueue("w-long");
    enqueue("w-short");
    engine_workers_wake(workers);
    while (sum < 2 && clock_ms() < deadline) {
        clock_sleep_ms(20);
        engine_workers_counts(workers, &ran, &failed);
        assert_int_equal(failed, 0);
        sum += ran;
    }
    assert_true(engine_workers_stop(workers, 5000));
    assert_int_equal(sum, 2);
    assert_status("w-long", "SUCCESS");
    assert_status("w-short", "SUCCESS");
}

/* A worker that cannot go on gives back what it has, though its executor lives. */
static void test_workers_give_back(void **state)
{
    struct engine_workers *workers = engine_workers_start(&other, 2);
    int64_t deadline = clock_ms() + 30000;

    (void)state;
    in_external = database_away; /* for the first run */
    enqueue("w-back");
    while (externals < 2 && clock_ms() < deadline) {
        struct db_rows *rows;
        struct db_call call;

        engine_workers_wake(workers);
        clock_sleep_ms(50);
        db_call_init(&call, arena, STATEMENT_WORKFLOW_WAKE);
        db_add_string(&call, options.app_name);
        db_add_int(&call, 10);
        assert_int_equal(db_run(second, &call, &failure, &rows), OK);
    }
    assert_true(engine_workers_stop(workers, 5000));
    assert_int_equal(externals, 2);
    assert_status("w-back", "SUCCESS");
    assert_steps("w-back", 3, three_names);
}

static int setup_all(void **state)
{
    (void)state;
    options.database_url = getenv("DATABASE_URL");
    options.direct_database_url = getenv("DIRECT_DATABASE_URL");
    options.runtime_dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    options.legacy_payloads = 1;
    db_configure(&options);
    arena = arena_new();
    db = db_new(DB_POOLED);
    second = db_new(DB_POOLED);
    engine_init(&engine, &options, definitions, EXECUTOR_HTTP);
    engine_init(&other, &options, definitions, EXECUTOR_SWEEPER);
    script("insert into openclaw.principal (principal_id, kind, scopes) "
           "values ('operator', 'operator', '{operator}')");
    return 0;
}

static int setup(void **state)
{
    (void)state;
    externals = 0;
    in_external = NULL;
    failure = (struct failure){0};
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    db_free(db);
    db_free(second);
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_runs_to_the_end, setup),
        cmocka_unit_test_setup(test_goes_on_from_its_last_checkpoint, setup),
        cmocka_unit_test_setup(test_fences_the_former_owner, setup),
        cmocka_unit_test_setup(test_stops_when_cancelled, setup),
        cmocka_unit_test_setup(test_a_failed_step_is_the_outcome, setup),
        cmocka_unit_test_setup(test_a_refused_effect_is_the_outcome, setup),
        cmocka_unit_test_setup(test_changed_code_is_found_out, setup),
        cmocka_unit_test_setup(test_sleeps_without_a_process, setup),
        cmocka_unit_test_setup(test_a_batch_goes_to_its_first_barrier, setup),
        cmocka_unit_test_setup(test_unreadable_input_fails_visibly, setup),
        cmocka_unit_test_setup(test_answers_a_native_client_in_its_form, setup),
        cmocka_unit_test_setup(test_a_workflow_that_kills_its_executors_ends, setup),
        cmocka_unit_test_setup(test_workers_run_at_the_same_time, setup),
        cmocka_unit_test_setup(test_workers_give_back, setup),
    };

    return cmocka_run_group_tests_name("engine", tests, setup_all, teardown_all);
}
