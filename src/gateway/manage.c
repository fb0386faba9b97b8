/* SPDX-License-Identifier: MIT */
#include "gateway/manage.h"

#include "base/uuid.h"

void manage_call(struct db_call *call, struct arena *arena, const struct engine *engine,
                 const struct manage *manage)
{
    char fresh[UUID_SIZE];

    /* made here, so that the same call again makes no second fork */
    uuid_v4(fresh);
    db_call_init(call, arena, STATEMENT_WORKFLOW_MANAGE);
    db_add_string(call, manage->principal);
    db_add_string(call, manage->verb);
    db_add_text(call, manage->id);
    db_add_int(call, manage->step);
    if (manage->new_id.data)
        db_add_text(call, manage->new_id);
    else
        db_add_string(call, fresh);
    db_add_text(call, manage->version);
    db_add_text(call, manage->queue);
    db_add_bool(call, manage->children);
    db_add_string(call, engine->options->app_name);
    db_add_string(call, manage->by);
    db_add_text(call, workflow_attributes(arena, manage->traceparent, manage->request_id));
}

enum error manage_result(const struct engine *engine, struct arena *arena, struct db_rows *rows,
                         struct failure *failure, struct document **ret_answer)
{
    struct document *answer = document_object(arena);
    size_t count = 0;
    struct text *bells = db_texts(rows, 0, 3, &count);
    enum error error;

    document_put_text(answer, "workflowUuid", arena_text(arena, db_text(rows, 0, 0)));
    document_put_text(answer, "status", arena_text(arena, db_text(rows, 0, 1)));
    document_put_int(answer, "changed", db_int(rows, 0, 2));
    error = db_rows_error(rows, failure);
    if (error)
        return error;
    engine_ring(engine, bells, count);
    *ret_answer = answer;
    return OK;
}
