/* SPDX-License-Identifier: MIT
 *
 * What becomes of messages that this session sent and does not wait for: a client that stays
 * connected is told as it happens. Only places in inboxes are remembered, the latest FATES_MAX of
 * them; for what was forgotten, or happened while nobody was connected, a client asks (agent.wait,
 * workflow.status). A bell says that there may be news; several share one look.
 *
 * A message that died or was withdrawn may come back: it is redriven, or its workflow resumed or
 * rewound. So its place stays remembered, as long as nothing that is on its way needs the room.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "session/state.h"

struct sent {
    int64_t seq;
    bool told;        /* that it was delivered */
    bool ended;       /* and that was told; it may come back */
    int64_t ended_at; /* the database's clock */
};

static struct sent *find(struct fates *fates, int64_t seq)
{
    for (unsigned i = 0; i < fates->count; i++) {
        if (fates->sent[i].seq == seq)
            return &fates->sent[i];
    }
    return NULL;
}

static void forget(struct fates *fates, struct sent *sent)
{
    fates->count--;
    memmove(sent, sent + 1, (size_t)(fates->sent + fates->count - sent) * sizeof(*sent));
}

/* Room for one more: the oldest that has ended, else the oldest. */
static void make_room(struct fates *fates)
{
    struct sent *victim = fates->sent;

    if (fates->count < FATES_MAX)
        return;
    for (struct sent *each = fates->sent + fates->count; each-- > fates->sent;) {
        if (each->ended)
            victim = each;
    }
    forget(fates, victim);
}

void fates_track(struct session *session, int64_t inbox_seq, bool told)
{
    struct fates *fates = &session->fates;
    struct sent *known = find(fates, inbox_seq);

    if (known != NULL)
        known->told |= told;
    if (inbox_seq <= 0 || session->state != SESSION_OPEN || known != NULL)
        return;
    if (fates->sent == NULL)
        fates->sent = calloc(FATES_MAX, sizeof(*fates->sent));
    if (fates->sent == NULL)
        return; /* then it asks */
    make_room(fates);
    fates->sent[fates->count++] = (struct sent){.seq = inbox_seq, .told = told};
    fates->pause = FATES_LOOK_MS;
    fates->look_at = earlier(fates->look_at, session->now + clock_jitter_ms(fates->pause));
}

void fates_wake(struct session *session)
{
    struct fates *fates = &session->fates;
    int64_t soon = fates->looked_at + FATES_PAUSE_MS;

    if (fates->count > 0)
        fates->look_at = earlier(fates->look_at, soon > session->now ? soon : session->now);
}

void fates_drop(struct session *session)
{
    free(session->fates.sent);
    session->fates.sent = NULL;
    session->fates.count = 0;
    session->fates.look_at = INT64_MAX;
}

/* ---- looking ------------------------------------------------------------------------------- */

static bool look_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call)
{
    const struct fates *fates = &session->fates;
    int64_t *seqs;

    if (fates->count == 0)
        return false;
    seqs = arena_array(operation->arena, fates->count, sizeof(*seqs));
    for (unsigned i = 0; i < fates->count; i++)
        seqs[i] = fates->sent[i].seq;
    db_call_init(ret_call, operation->arena, STATEMENT_MESSAGE_FATES);
    db_add_ints(ret_call, seqs, fates->count);
    return true;
}

struct fate {
    const char *event, *status;
    bool final, may_return;
};

static struct fate fate_of(struct text state)
{
    if (text_is(state, "acked"))
        return (struct fate){"message.acknowledged", "acknowledged", true, false};
    if (text_is(state, "dead"))
        return (struct fate){"message.dead", "failed", true, true};
    if (text_is(state, "expired"))
        return (struct fate){"message.expired", "expired", true, false};
    if (text_is(state, "withdrawn"))
        return (struct fate){"message.cancelled", "cancelled", true, true};
    return (struct fate){"message.delivered", "delivered", false, false};
}

/* Columns: ordinal, inbox_seq, message id, workflow, agent, state, attempt, when, reason, response,
 * and the inbox_seq that was asked for. */
static void tell(struct session *session, const struct fate *fate, struct db_rows *rows, size_t row)
{
    struct arena *arena = arena_new();
    struct document *payload = document_object(arena);

    document_put_text(payload, "messageId", arena_text(arena, db_text(rows, row, 2)));
    document_put_text(payload, "workflowUuid", arena_text(arena, db_text(rows, row, 3)));
    document_put_text(payload, "to", arena_text(arena, db_text(rows, row, 4)));
    document_put_int(payload, "inboxSeq", db_int(rows, row, 1));
    document_put_string(payload, "status", fate->status);
    document_put_int(payload, "deliveryAttempts", db_int(rows, row, 6));
    if (!db_is_null(rows, row, 7))
        document_put_int(payload, "at", db_int(rows, row, 7));
    if (!db_is_null(rows, row, 8))
        document_put_text(payload, "reason", arena_text(arena, db_text(rows, row, 8)));
    if ((int64_t)db_text(rows, row, 9).len > inbox_response_max(session->options))
        document_put_string(payload, "reason", REPLY_TOO_LONG);
    else if (!db_is_null(rows, row, 9))
        document_put(payload, "response",
                     document_from_json(arena, arena_text(arena, db_text(rows, row, 9))));
    (void)frame_event(session, arena, fate->event, payload);
    arena_free(arena);
}

/* Says whether there was any. */
static bool take_news(struct session *session, struct db_rows *rows, size_t row)
{
    struct fates *fates = &session->fates;
    struct fate fate = fate_of(db_text(rows, row, 5));
    int64_t seq = db_int(rows, row, 1), at = db_int_or(rows, row, 7, 0);
    struct sent *sent = find(fates, db_int(rows, row, 10));

    if (sent != NULL && sent->seq != seq) { /* sent once more, it has a new place */
        if (find(fates, seq) != NULL) {
            forget(fates, sent);
            return false;
        }
        *sent = (struct sent){.seq = seq};
    }
    if (sent == NULL || (fate.final ? sent->ended && sent->ended_at == at : sent->told))
        return false;
    tell(session, &fate, rows, row);
    *sent = (struct sent){.seq = seq, .told = !fate.final, .ended = fate.final, .ended_at = at};
    if (fate.final && !fate.may_return)
        forget(fates, sent);
    return true;
}

static void look_answer(struct session *session, struct operation *operation, enum error error,
                        struct failure *failure, struct db_rows *rows)
{
    struct fates *fates = &session->fates;
    size_t row = 0, count = error == OK && rows != NULL ? db_rows_count(rows) : 0;
    bool news = false;

    (void)operation;
    (void)failure;
    fates->looking = false;
    fates->looked_at = session->now;
    if (session->state != SESSION_OPEN)
        return;
    /* a client that is slow to read is told later, when there is room */
    while (row < count && session_output_room(session))
        news |= take_news(session, rows, row++);
    if (fates->count == 0)
        return;
    fates->pause = news || row < count                    ? FATES_LOOK_MS
                   : fates->pause * 2 < FATES_LOOK_MAX_MS ? fates->pause * 2
                                                          : FATES_LOOK_MAX_MS;
    fates->look_at = earlier(fates->look_at, session->now + clock_jitter_ms(fates->pause));
}

static const struct operation_kind look_kind = {"message.fates", look_call, look_answer, false};

void fates_advance(struct session *session)
{
    struct fates *fates = &session->fates;

    if (fates->looking || fates->count == 0 || session->now < fates->look_at)
        return;
    fates->looking = true;
    fates->look_at = INT64_MAX;
    (void)operation_new(session, &look_kind);
}

int64_t fates_deadline(const struct session *session)
{
    return session->fates.looking || session->fates.count == 0 ? INT64_MAX : session->fates.look_at;
}
