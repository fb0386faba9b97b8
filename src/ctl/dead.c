/* SPDX-License-Identifier: MIT
 *
 * gatewayctl dead: messages that were delivered too often, or refused for good.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "gateway/dead_letter.h"
#include "workflow/registry.h"

#define PAGE        DEAD_LETTER_LIST_MAX
#define PROGRESS_MS 2000 /* between two lines that say how far it is */

static struct document *time_of(const struct ctl *ctl, int64_t ms)
{
    char iso[CLOCK_ISO_SIZE];

    if (ms == 0)
        return document_null(ctl->arena);
    clock_iso(ms, iso);
    return document_from_text(ctl->arena, text_of(iso));
}

static enum error need_id(const struct ctl *ctl, struct text *ret_id, struct failure *failure)
{
    *ret_id = text_of(ctl_operand(ctl, 0));
    if (dead_letter_id_valid(*ret_id))
        return OK;
    return failure_set(failure, ERR_INVALID_ID,
                       "an id has 1 to %d bytes; gatewayctl message dead shows them",
                       MESSAGE_ID_MAX);
}

static enum error no_such(struct text id, struct failure *failure)
{
    return failure_set(failure, ERR_NOT_FOUND,
                       "there is no dead letter %.120s; gatewayctl message dead shows them",
                       id.data);
}

enum error ctl_dead_list(struct ctl *ctl, struct failure *failure)
{
    static const struct column columns[] = {
        {"id", "MESSAGE"},        {"inbox", "INBOX"},          {"from", "FROM"},
        {"attempts", "ATTEMPTS"}, {"deadSince", "DEAD SINCE"}, {"reason", "REASON"}};
    struct principal self = ctl_principal(ctl);
    struct text inbox = text_of(ctl_flag(ctl, FLAG_INBOX));
    struct document *list = document_array(ctl->arena);
    struct dead_letter *letters;
    struct page page = {.limit = 0};
    struct db_rows *rows;
    struct db_call call;
    size_t count;
    enum error error;

    if (ctl->arguments.operand_count > 0)
        return ctl_dead_show(ctl, failure);
    if ((error = ctl_page(ctl, &page, failure)) != OK)
        return error;
    if (inbox.data && !text_is_agent_id(inbox))
        return failure_set(failure, ERR_INVALID_ID, "--inbox is the name of an agent");
    dead_letter_list_call(&call, ctl->arena, &self, inbox,
                          page.number == DB_INT_NULL ? 0 : page.number, page.limit + 1);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = dead_letter_result(ctl->arena, rows, failure, &letters, &count)) != OK)
        return error;
    if (count == 0 && inbox.data && (error = ctl_agent_must_exist(ctl, inbox.data, failure)) != OK)
        return error;
    bool more = count > (size_t)page.limit;
    for (size_t i = 0; i < count - more; i++)
        document_append(list, document_put(dead_letter_document(ctl->arena, &letters[i]),
                                           "deadSince", time_of(ctl, letters[i].dead_at)));
    ctl_print_page(ctl, "deadLetters", list,
                   more ? ctl_cursor(ctl, &page, letters[count - 2].inbox_seq, TEXT_NONE) : NULL,
                   columns, sizeof(columns) / sizeof(columns[0]));
    return OK;
}

enum error ctl_dead_show(struct ctl *ctl, struct failure *failure)
{
    struct principal self = ctl_principal(ctl);
    struct dead_letter *letters;
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    size_t count;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    dead_letter_get_call(&call, ctl->arena, &self, id);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = dead_letter_result(ctl->arena, rows, failure, &letters, &count)) != OK)
        return error;
    if (count == 0)
        return no_such(id, failure);
    ctl_print_object(ctl, document_put(dead_letter_document(ctl->arena, &letters[0]), "deadSince",
                                       time_of(ctl, letters[0].dead_at)));
    return OK;
}

/* ---- one, or all that fit -----------------------------------------------------------------------
 */

/* What a run over many has done. Dead letters are walked from the newest to the oldest, so that
 * none is met twice, whatever dies meanwhile. */
struct run {
    struct ctl *ctl;
    struct principal self;
    struct engine engine;
    const char *did; /* "redriven", "purged" */
    int64_t limit, since_ms, older_ms, now;
    int64_t matched, done, full, gone; /* gone: somebody else was faster */
    /* does it to these, and counts */
    enum error (*act)(struct run *run, const struct text *ids, size_t count,
                      struct failure *failure);
};

static enum error redrive(struct run *run, const struct text *ids, size_t count,
                          struct failure *failure)
{
    struct arena *arena = run->ctl->arena;
    struct text *forks = dead_letter_forks(arena, count);
    struct redriven *redriven;
    struct db_rows *rows;
    struct db_call call;
    size_t answered;
    enum error error;

    dead_letter_redrive_call(&call, arena, &run->engine, &run->self, ids, forks, count);
    do
        error = db_run(run->ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error != OK || (error = dead_letter_redrive_result(&run->engine, arena, rows, failure,
                                                           &redriven, &answered)) != OK)
        return error;
    for (size_t i = 0; i < answered; i++) {
        run->done += redriven[i].outcome == REDRIVE_DONE;
        run->full += redriven[i].outcome == REDRIVE_FULL;
        run->gone += redriven[i].outcome == REDRIVE_LIVE || redriven[i].outcome == REDRIVE_UNKNOWN;
    }
    return OK;
}

static enum error purge(struct run *run, const struct text *ids, size_t count,
                        struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    dead_letter_purge_call(&call, run->ctl->arena, &run->self, ids, count);
    do
        error = db_run(run->ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error != OK)
        return error;
    run->done += (int64_t)db_rows_count(rows);
    run->gone += (int64_t)(count - db_rows_count(rows));
    return OK;
}

static bool fits(const struct run *run, const struct dead_letter *letter)
{
    const char *from = ctl_flag(run->ctl, FLAG_FROM), *reason = ctl_flag(run->ctl, FLAG_REASON);

    return (!from || text_is(letter->from, from)) &&
           (!reason || (letter->reason.data && strstr(letter->reason.data, reason))) &&
           (run->since_ms < 0 || letter->dead_at >= run->now - run->since_ms) &&
           (run->older_ms < 0 || letter->dead_at < run->now - run->older_ms);
}

/* Times that decide are the database's. */
static enum error clock_of_database(struct ctl *ctl, int64_t *ret_now, struct failure *failure)
{
    struct db_rows *rows;
    struct db_call call;

    db_call_init(&call, ctl->arena, STATEMENT_SERVER_FACTS);
    enum error error = db_run(ctl->db, &call, failure, &rows);
    if (error == OK)
        *ret_now = db_int(rows, 0, 7);
    return error == OK ? db_rows_error(rows, failure) : error;
}

/* One page: those of it that fit. *ret_before is where the next one begins; 0: there is none. */
static enum error run_page(struct run *run, int64_t before, int64_t *ret_before,
                           struct failure *failure)
{
    struct ctl *ctl = run->ctl;
    struct dead_letter *letters;
    struct text ids[PAGE];
    struct db_rows *rows;
    struct db_call call;
    size_t count, chosen = 0;
    enum error error;

    dead_letter_list_call(&call, ctl->arena, &run->self, text_of(ctl_flag(ctl, FLAG_INBOX)), before,
                          PAGE);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK ||
        (error = dead_letter_result(ctl->arena, rows, failure, &letters, &count)) != OK)
        return error;
    for (size_t i = 0; i < count && run->matched < run->limit; i++)
        if (fits(run, &letters[i])) {
            ids[chosen++] = letters[i].id;
            run->matched++;
        }
    *ret_before = count == PAGE && run->matched < run->limit ? letters[count - 1].inbox_seq : 0;
    if (chosen == 0 || ctl_flag(ctl, FLAG_DRY_RUN))
        return OK;
    return run->act(run, ids, chosen, failure);
}

static enum error check_filters(struct run *run, struct failure *failure)
{
    static const enum flag filters[] = {FLAG_INBOX, FLAG_FROM,       FLAG_REASON,
                                        FLAG_SINCE, FLAG_OLDER_THAN, FLAG_ALL};
    struct ctl *ctl = run->ctl;
    struct db_call unused;
    bool given = false;
    enum error error;

    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
        given = given || ctl_flag(ctl, filters[i]);
    if (!given)
        return failure_set(
            failure, ERR_INVALID_REQUEST,
            "say which: a MESSAGE, or --inbox, --from, --reason, --since, --older-than, "
            "or --all; --dry-run only counts them");
    db_call_init(&unused, ctl->arena, STATEMENT_MESSAGE_LIST);
    if ((error = ctl_add_name(ctl, &unused, FLAG_INBOX, failure)) != OK ||
        (error = ctl_add_name(ctl, &unused, FLAG_FROM, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_SINCE, -1, &run->since_ms, failure)) != OK ||
        (error = ctl_duration(ctl, FLAG_OLDER_THAN, -1, &run->older_ms, failure)) != OK)
        return error;
    run->limit = INT64_MAX;
    if (ctl_flag(ctl, FLAG_LIMIT) &&
        text_int64(text_of(ctl_flag(ctl, FLAG_LIMIT)), 1, INT64_MAX, &run->limit) != OK)
        return failure_set(failure, ERR_INVALID_REQUEST, "--limit is a number, 1 or more");
    return OK;
}

static void print_run(struct run *run)
{
    struct document *answer = document_object(run->ctl->arena);

    document_put_int(answer, "matched", run->matched);
    if (ctl_flag(run->ctl, FLAG_DRY_RUN)) {
        document_put_bool(answer, "dryRun", true);
    } else {
        document_put_int(answer, run->did, run->done);
        if (run->full > 0)
            document_put_int(answer, "inboxFull", run->full);
        if (run->gone > 0)
            document_put_int(answer, "goneMeanwhile", run->gone);
    }
    ctl_print_object(run->ctl, answer);
}

/* In pages, a transaction each: what was done stays done when it is interrupted, and is not met
 * again when it is called again. */
static enum error run_many(struct run *run, struct failure *failure)
{
    struct arena *whole = run->ctl->arena, *page;
    int64_t before = 0, reported = clock_ms();
    enum error error = check_filters(run, failure);

    if (error != OK || (error = clock_of_database(run->ctl, &run->now, failure)) != OK)
        return error;
    run->ctl->arena = page = arena_new();
    do {
        error = run_page(run, before, &before, failure);
        arena_reset(page);
        if (error == OK && before > 0 && clock_ms() - reported >= PROGRESS_MS) {
            fprintf(stderr, "gatewayctl: %lld %s so far\n", (long long)run->done, run->did);
            reported = clock_ms();
        }
    } while (error == OK && before > 0);
    run->ctl->arena = whole;
    arena_free(page);
    if (error != OK) {
        fprintf(stderr, "gatewayctl: %lld were %s before that\n", (long long)run->done, run->did);
        return error;
    }
    if (run->matched == 0 && ((ctl_flag(run->ctl, FLAG_INBOX) &&
                               (error = ctl_agent_must_exist(
                                    run->ctl, ctl_flag(run->ctl, FLAG_INBOX), failure)) != OK) ||
                              (error = ctl_names_must_be_known(run->ctl, failure)) != OK))
        return error;
    print_run(run);
    if (run->full > 0)
        return failure_set(failure, ERR_INBOX_FULL,
                           "%lld stay dead; redrive them again when some messages were read",
                           (long long)run->full);
    return OK;
}

static void run_init(struct run *run, struct ctl *ctl)
{
    *run = (struct run){.ctl = ctl, .self = ctl_principal(ctl)};
    engine_init(&run->engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
}

static enum error redrive_one(struct ctl *ctl, struct failure *failure)
{
    struct principal self = ctl_principal(ctl);
    struct text *forks = dead_letter_forks(ctl->arena, 1);
    struct redriven *redriven;
    struct engine engine;
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    size_t count;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    engine_init(&engine, &ctl->options, workflow_definitions, EXECUTOR_CTL);
    dead_letter_redrive_call(&call, ctl->arena, &engine, &self, &id, forks, 1);
    do
        error = db_run(ctl->db, &call, failure, &rows);
    while (error == ERR_IN_DOUBT);
    if (error != OK || (error = dead_letter_redrive_result(&engine, ctl->arena, rows, failure,
                                                           &redriven, &count)) != OK)
        return error;
    if (count != 1 || redriven[0].outcome == REDRIVE_UNKNOWN)
        return no_such(id, failure);
    if (redriven[0].outcome == REDRIVE_FULL)
        return failure_set(failure, ERR_INBOX_FULL,
                           "redrive it again when some of its messages were read");
    ctl_print_object(ctl, redriven_document(ctl->arena, &redriven[0]));
    return OK;
}

static enum error purge_one(struct ctl *ctl, struct failure *failure)
{
    struct principal self = ctl_principal(ctl);
    struct db_rows *rows;
    struct db_call call;
    struct text id;
    enum error error = need_id(ctl, &id, failure);

    if (error != OK)
        return error;
    dead_letter_purge_call(&call, ctl->arena, &self, &id, 1);
    if ((error = db_run(ctl->db, &call, failure, &rows)) != OK)
        return error;
    if (db_rows_count(rows) == 0)
        return no_such(id, failure);
    ctl_print_object(ctl, document_put_text(document_object(ctl->arena), "purged", id));
    return OK;
}

static enum error one_or_many(struct ctl *ctl, struct run *run,
                              enum error (*one)(struct ctl *ctl, struct failure *failure),
                              struct failure *failure)
{
    if (ctl->arguments.operand_count == 0)
        return run_many(run, failure);
    for (unsigned flag = 0; flag < FLAG__MAX; flag++)
        if (ctl->arguments.flags[flag] && flag != FLAG_JSON)
            return failure_set(failure, ERR_INVALID_REQUEST,
                               "%s is for many; without it the one MESSAGE is meant",
                               flag_rows[flag].name);
    return one(ctl, failure);
}

enum error ctl_dead_redrive(struct ctl *ctl, struct failure *failure)
{
    struct run run;

    run_init(&run, ctl);
    run.did = "redriven";
    run.act = redrive;
    return one_or_many(ctl, &run, redrive_one, failure);
}

enum error ctl_dead_purge(struct ctl *ctl, struct failure *failure)
{
    struct run run;

    run_init(&run, ctl);
    run.did = "purged";
    run.act = purge;
    return one_or_many(ctl, &run, purge_one, failure);
}
