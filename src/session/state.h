/* SPDX-License-Identifier: MIT
 *
 * The inside of a session, shared by the files of this folder. Who changes what:
 *
 *   session.c     the state (session_enter), time, the end
 *   input.c       bytes to frames
 *   frame.c       answers and events to bytes
 *   request.c     one frame of the client, and the table of methods;  members.c  their types
 *   handshake.c   connect, hello-ok, refusals;  credentials.c  tokens and tickets
 *   operation.c   the queue of database operations, one at a time, and retrying
 *   sending.c     messages that the client sends;  waiting.c  those it waits for
 *   fates.c       what becomes of the others
 *   delivery.c    what is out at the client;  inbox.c  what the client says about it
 *   pull.c        the inbox without pushes;  dead_letters.c  what came to a bad end
 *   presence.c    who else is here
 *   workflow_start.c, workflow_manage.c   workflows by name, and what is done to them
 *   information.c, workflow_methods.c   the methods that only tell
 */
#ifndef OPENCLAW_SESSION_STATE_H
#define OPENCLAW_SESSION_STATE_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/document.h"
#include "gateway/inbox.h"
#include "gateway/message.h"
#include "gateway/principal.h"
#include "session/session.h"

/* ---- limits ------------------------------------------------------------------------------- */

#define PREAUTH_INPUT_MAX     65536
#define BAD_FRAMES_MAX        10   /* in a row, then goodbye */
#define DISCARD_FACTOR        8    /* times MAX_MESSAGE_SIZE dropped of one line, then goodbye */
#define INPUT_STALL_MS        2000 /* a frame that goes on arriving pauses no longer than this */
#define REQUESTS_MAX          512  /* read and not answered; what comes behind waits unread */
#define REQUEST_BYTES_FACTOR  2    /* times MAX_MESSAGE_SIZE, of those */
#define INPUT_FACTOR          4    /* times MAX_MESSAGE_SIZE waiting unread; more is refused */
#define REQUEST_ID_MAX        1024
#define METHOD_NAME_MAX       256
#define MERGE_MAX             500 /* requests that one database call serves */
#define WAITS_MAX             1000
#define WAIT_DEFAULT_MS       30000
#define AGENT_WAIT_DEFAULT_MS 600000
#define WAIT_MAX_MS           3600000
#define SUBSCRIPTIONS_MAX     16
#define SNAPSHOT_PRESENCE_MAX 32   /* connections in hello-ok: it is sent to each newcomer */
#define PRESENCE_MAX          1000 /* in the answer of system-presence */
#define PULLS_MAX             16
#define FRAME_OVERHEAD        4096 /* what a frame may have besides contents */
#define CLAIM_BYTES           1048576 /* what one claim should bring at most, as far as can be foreseen */
#define CLAIM_FIRST           8       /* messages, while their size is unknown */
#define HANDED_DELAY_MS       50 /* an acknowledgement that comes first saves the note */
#define CLAIM_DELAY_MS        50
#define BELL_DELAY_MS         200  /* a bell without room for more is looked at so late */
#define LOOK_MS               5000 /* subscribers look by themselves, a lost bell is a delay */
#define WAIT_LOOK_MS          1500 /* so do those who wait for an outcome */
#define FATES_MAX             256  /* messages sent whose end is told; the oldest are forgotten */
#define FATES_PAUSE_MS        100  /* between two looks for news of them, however often it rings */
#define FATES_LOOK_MS         5000 /* without a bell; doubles while nothing happens */
#define FATES_LOOK_MAX_MS     60000
#define PRESENCE_PAUSE_MS     1000  /* between two looks at who is here, however often it rings */
#define PRESENCE_LOOK_MS      30000 /* without a bell */
#define RECHECK_MS            39000 /* with jitter a revoked token is noticed within 60 s */
#define RETRY_FIRST_MS        50
#define RETRY_MAX_MS          600 /* with jitter 900: the database is back within so much of its return */
#define RETRY_RUNG_MS         100 /* a bell: somebody has just committed, so the database is there */
#define REFUSAL_GRACE_MS                                                                           \
    1000                     /* for the first request: who is refused anyway is told under its id */
#define LEFT_GRACE_MS    500 /* websocketd kills 850 ms after the client left */
#define FAREWELL_MS      10000 /* for what is under way when a connection has carried its share */
#define STOP_GRACE_MS    5000  /* to give back and say goodbye when asked to end */
#define CLIENT_FIELD_MAX 128

/* ---- one frame of the client -------------------------------------------------------------- */

struct method;

struct request {
    struct arena *arena; /* the request itself lives in it */
    struct request *next;
    const struct method *method; /* NULL: a bare message */
    struct text id;
    struct document *params; /* of a bare message the whole object; NULL: none */
    size_t bytes;
    void *state; /* the handler's own */
};

/* Answers the request later, or now by frame_result() or frame_error() and request_end(). */
typedef void method_handler(struct session *session, struct request *request);

enum { METHOD_CONNECTS = 1 }; /* allowed before the client is known */

enum member_kind { MEMBER_TEXT, MEMBER_TEXTS, MEMBER_BOOL, MEMBER_OBJECT };

struct member {
    const char *name; /* or "object.name" */
    enum member_kind kind;
};

struct method {
    const char *name;
    method_handler *handler;
    unsigned scopes; /* of enum scope, any of them is enough; 0: everybody who is known */
    unsigned flags;
    const struct member *members; /* whose type is looked at before the handler; NULL: none */
};
extern const struct method methods[]; /* ends with a NULL name */

/* members.c: lists that end with a NULL name */
extern const struct member members_connect[], members_bare[], members_send[], members_inbox[],
    members_dead_letters[], members_workflow[];
/* What is wrong with the type of a member, naming it; NULL: nothing. JSON null is as good as
 * absent.
 */
const char *members_check(struct arena *arena, const struct document *params,
                          const struct member *members);

/* ---- database operations ------------------------------------------------------------------- */

struct operation;

struct operation_kind {
    const char *name;
    /* Builds the call; false: there is nothing to ask, and `answer` is called with rows NULL. */
    bool (*call)(struct session *session, struct operation *operation, struct db_call *ret_call);
    void (*answer)(struct session *session, struct operation *operation, enum error error,
                   struct failure *failure, struct db_rows *rows);
    bool patient; /* retried for DB_TIMEOUT_MS; else its next try is its owner's affair */
};

struct operation {
    const struct operation_kind *kind;
    struct arena *arena; /* the operation itself, its call and the rows live in it */
    struct operation *next;
    struct request *requests; /* those it serves, in order */
    struct request **requests_end;
    unsigned count;
    struct text about; /* what operation_join() looks for */
    bool started;
    bool in_doubt; /* an answer was lost: it may have been done */
    int64_t deadline;
    unsigned attempts;
    int64_t limit; /* of a claim: messages asked for */
    struct db_call call;
    void *state;
};

/* ---- receiving ------------------------------------------------------------------------------- */

#define FLIGHT_OUTPUT_LATER UINT64_MAX

enum flight_state { FLIGHT_BUFFERED, FLIGHT_WRITTEN, FLIGHT_NOTED };

struct subscription;

/* A delivery that is out: in the output buffer, or at the client. */
struct flight {
    struct flight *next;
    struct subscription *subscription; /* NULL: pulled */
    char id[DELIVERY_ID_MAX + 1];
    char agent[AGENT_ID_MAX + 1];
    enum flight_state state;
    uint64_t output_end; /* position in all that was ever put out, or FLIGHT_OUTPUT_LATER */
    int64_t lease_ends;
};

/* Deliveries that were claimed and not yet put out. */
struct backlog {
    struct backlog *next;
    struct arena *arena;
    struct text agent; /* of what was pulled */
    struct delivery *deliveries;
    size_t count, at;
    int64_t lease_ends;
};

struct subscription {
    struct subscription *next;
    char agent[AGENT_ID_MAX + 1];
    int64_t epoch, max_in_flight, lease_ms;
    bool active;        /* the database knows it */
    unsigned in_flight; /* flights and backlog */
    struct backlog *backlog, **backlog_end;
    struct operation *claim; /* queued or running, or NULL */
    int64_t claim_at;        /* when to take more, if there is room */
    int64_t look_at;         /* when to ask even without room: somebody may have fenced us */
    bool more;               /* the last claim left behind what could be taken now */
    int64_t handed_over;     /* the place of the last message that was handed over; 0: none was */
    bool doubt;              /* a claim's answer was lost: we may hold what we do not know of */
};

struct pull {
    struct pull *next;
    struct request *request;
    struct text agent;
    const char *token; /* of the look that runs: asked again it takes the same; NULL: none yet */
    int64_t max, lease_ms;
    int64_t deadline, look_at;
    bool watched; /* whoever puts something into the inbox rings */
    bool watch_asked;
    struct operation *operation; /* that looks now, or NULL */
};

/* A pull whose answer was lost for good. */
struct lost_pull {
    struct lost_pull *next;
    char agent[AGENT_ID_MAX + 1];
    char token[INBOX_TOKEN_LEN + 1];
};

/* ---- waiting ----------------------------------------------------------------------------------
 */

enum wait_for { WAIT_NOT, WAIT_DELIVERED, WAIT_REPLY };

struct wait {
    struct wait *next;
    struct request *request;
    struct text meant[WORKFLOW_IDS_MEANT]; /* by the client, until the receipt says which */
    struct message_receipt receipt;    /* the latest known; texts in the request's arena, but: */
    char last_attempt[CLOCK_ISO_SIZE]; /* looked up again and again: here it takes no more room */
    enum wait_for until;
    int64_t deadline;
    bool known; /* the receipt says something */
    bool asked; /* by the look that runs */
    bool looked_in_vain;
    /* Answers for good; late: the time is up. */
    void (*finish)(struct session *session, struct request *request,
                   const struct message_receipt *receipt, bool late);
};

struct sent;

struct fates {
    struct sent *sent; /* in the order of sending; NULL: none yet */
    unsigned count;
    bool looking;
    int64_t look_at, looked_at, pause;
};

struct presence {
    bool watching; /* wants to hear of changes */
    bool looking;
    int64_t look_at, looked_at;
    uint64_t digest; /* of what was told last */
};

/* ---- the session -------------------------------------------------------------------------------
 */

enum session_state {
    SESSION_GREETED,  /* challenged; nobody is known yet */
    SESSION_CHECKING, /* the first frame waits for the credentials' check */
    SESSION_OPEN,
    SESSION_ENDING, /* goodbye is said; what is held is being given back */
    SESSION_OVER
};

struct refusal_row;
struct session {
    const struct engine *engine;
    const struct options *options;
    const struct peer *peer;
    enum session_state state;
    int64_t now, started;

    /* who it is */
    const struct refusal_row *refuses; /* what the first request will be told; NULL: nothing yet */
    struct text token;                 /* presented, in life; absent: none was needed */
    bool token_by_header;              /* no connect is needed */
    bool token_is_ticket;
    int64_t handshake_by;        /* open by then, or it ends */
    int64_t refused_wait_ms;     /* too many have failed */
    struct principal refused_as; /* whose ended token was presented */
    unsigned scopes_asked;       /* ~0: all */
    unsigned scopes_needed;      /* asked for by their own names: the principal must have them */
    struct principal principal;
    struct request *opening; /* the frame that waits for the check; NULL: none came in time */
    struct document *here;   /* who else is, told when it registered; of the frame's arena */
    bool connected;          /* hello-ok was said: the official dialect */
    bool bare;               /* what was last understood was a bare message */
    int64_t protocol;
    struct arena *life;  /* for what lives as long as the session */
    struct text client;  /* JSON of what the client said of itself, in life */
    bool registered;     /* in openclaw.executor */
    bool register_again; /* somebody may have buried us */
    int64_t recheck_at;
    bool rechecking;

    /* in */
    struct buffer input;
    struct document_framer framer;
    unsigned bad_frames;
    size_t discarded; /* of a line that is too long; 0: not discarding */
    bool discarding;
    bool input_paused; /* what came last was left unread */
    int64_t input_at;  /* when bytes last came */

    /* out */
    struct buffer output;
    uint64_t put_out, written;
    int64_t output_moved; /* when the client last took something, or output began to wait */
    int64_t event_seq;
    int64_t tick_at;

    /* requests and the database */
    unsigned requests;
    size_t request_bytes;
    struct operation *queue, **queue_end, *running;
    bool ringing;     /* other hosts, by an operation in the queue */
    bool arena_kept;  /* said by an answer: it has taken its operation's arena over */
    int64_t retry_at; /* the database is away: nothing starts before */
    unsigned retries;

    /* sending and receiving */
    struct wait *waits;
    unsigned wait_count;
    bool looking;
    int64_t look_at;
    struct fates fates;
    struct presence presence;
    int64_t receiving_calls; /* that change subscriptions, each built one counted; see inbox.h */
    struct subscription *subscriptions;
    struct flight *flights;
    struct pull *pulls;
    struct lost_pull *lost_pulls; /* PULLS_MAX at most, each of another inbox */
    struct backlog *leftovers;    /* pulled, and too much for one answer */
    int64_t claim_size;           /* messages; adapted to their size */
    int64_t handed_at;            /* INT64_MAX: nothing to note */
    bool noting;

    /* the end */
    int64_t received;    /* bytes from the client */
    int64_t farewell_at; /* at the latest; INT64_MAX: the connection has not carried its share */
    const char *reason;
    int64_t end_at; /* whatever is left undone then is left to the sweeper */
    bool wound_up;  /* who waited is answered, what is held is being given back */
    bool left;      /* nobody reads any more */
    uint64_t sent, delivered, acked, refused; /* for the log */
};

/* session.c */
void session_enter(struct session *session, enum session_state state); /* the choke point */
void session_end(struct session *session, const char *reason, int64_t grace_ms);
bool session_output_room(const struct session *session); /* may deliveries be put out? */

/* input.c */
void input_take(struct session *session, struct text bytes);
void input_frames(struct session *session);  /* all that can be read now */
void input_advance(struct session *session); /* what had to wait, and what has stalled */
bool input_must_wait(const struct session *session);
int64_t input_deadline(const struct session *session);
struct text frame_id_guess(struct arena *arena,
                           struct text bytes); /* of a frame that is not valid */

/* frame.c */
/* False: it is longer than a frame may be (MAX_MESSAGE_SIZE), and was left out. */
bool frame_event(struct session *session, struct arena *arena, const char *event,
                 struct document *payload);
void frame_challenge(struct session *session);
/* TOO_LARGE where it is longer. */
void frame_result(struct session *session, struct request *request, struct document *payload);
void frame_error(struct session *session, struct request *request, enum error error,
                 const struct failure *failure);
/* code and details as a client of OpenClaw knows them; details may be NULL */
void frame_refusal(struct session *session, struct request *request, const char *code,
                   const char *message, struct document *details, int64_t retry_after_ms);
void frame_shutdown(struct session *session, const char *reason);
/* A frame that could not be understood. */
void frame_bad(struct session *session, struct arena *arena, struct text id, enum error error,
               const struct failure *failure);

/* request.c */
void request_take(struct session *session, struct arena *arena, struct document *document,
                  size_t bytes); /* takes the arena */
void request_dispatch(struct session *session, struct request *request);
void request_end(struct session *session, struct request *request);
/* The same request without its frame, for one that waits for long. The state's bytes are copied. */
struct request *request_shrink(struct session *session, struct request *request, size_t state_size)
    __attribute__((returns_nonnull));
void request_invalid(struct session *session, struct request *request, const char *format, ...)
    __attribute__((format(printf, 3, 4))); /* answers and ends it */
/* A bounded integer of the params: absent is `otherwise`; false: not one, and the request is over.
 */
bool request_int(struct session *session, struct request *request, const char *key, int64_t min,
                 int64_t max, int64_t otherwise, int64_t *ret_value);
/* Its own, or where that is none the connection's. */
struct text request_traceparent(const struct session *session, const struct request *request);

/* handshake.c */
void handshake_start(struct session *session); /* finds what is refused before anything is read */
void handshake_take(struct session *session, struct request *request);
/* The time is up and nothing was said: the header's credentials are checked. False: there are none,
 * or they are being checked already. */
bool handshake_by_header(struct session *session);
const char *handshake_late(const struct session *session); /* why it ends when the time is up */
bool handshake_register_again(struct session *session);

/* credentials.c */
bool credentials_token_in_url(const struct session *session);
void credentials_find(struct session *session);
/* AUTH_MODE=none: whom the URL names; absent where it names nobody. */
struct text credentials_claimed(const struct session *session);
bool credentials_call(struct session *session, struct operation *operation,
                      struct db_call *ret_call);
/* What it has of what it asked for; an operator has everything. */
unsigned credentials_granted(const struct session *session, const struct principal *principal);
/* `why` may be NULL: nothing to say. failed: an attempt, and not just a refusal. */
void credentials_log(const struct session *session, const char *why, bool failed);
/* Notes that the token is in use, where that is news. */
void credentials_used(struct session *session, const struct principal *principal);
void credentials_recheck(struct session *session);
method_handler method_connect;

/* operation.c */
struct operation *operation_new(struct session *session, const struct operation_kind *kind)
    __attribute__((returns_nonnull)); /* queued */
/* One of this kind that has not started and has room; or a new one. */
struct operation *operation_join(struct session *session, const struct operation_kind *kind,
                                 struct text about) __attribute__((returns_nonnull));
void operation_serve(struct operation *operation, struct request *request);
void operations_expire(struct session *session);
void operation_abandon(struct session *session, struct operation *operation); /* it runs no more */
void operations_drop(
    struct session *session); /* all that have not started are answered UNAVAILABLE */
int64_t operations_deadline(const struct session *session);

/* sending.c, waiting.c */
method_handler method_agent_send, method_agent, method_agent_wait, method_send, method_chat_send,
    method_sessions_send;
void sending_bare(struct session *session, struct request *request);
struct text receipt_reply_text(struct arena *arena, const struct message_receipt *receipt);
#define REPLY_TOO_LONG                                                                             \
    "The reply does not fit into a frame; GET /workflows/:id, with its workflowUuid, has it."
/* A reply that fits into no frame gives way to that. */
void receipt_bound(const struct session *session, struct message_receipt *receipt);
bool receipt_settled(const struct message_receipt *receipt);
bool receipt_reached(const struct message_receipt *receipt, enum wait_for until);
bool waits_room(const struct session *session);
struct wait *wait_new(struct session *session, struct request *request,
                      const struct message_receipt *receipt, enum wait_for until, int64_t wait_ms)
    __attribute__((returns_nonnull));
void waits_look(struct session *session);
void waits_expire(struct session *session);
void waits_drop(struct session *session);
int64_t waits_deadline(const struct session *session);

/* fates.c */
/* Of a message that was sent; told: the answer says already that it was delivered. */
void fates_track(struct session *session, int64_t inbox_seq, bool told);
void fates_wake(struct session *session);
void fates_advance(struct session *session);
void fates_drop(struct session *session);
int64_t fates_deadline(const struct session *session);

/* The inbox a request is about, which the principal may read; false: the request is over. */
bool request_inbox(struct session *session, struct request *request, struct text *ret_agent);

/* delivery.c, inbox.c, pull.c */
method_handler method_inbox_subscribe, method_inbox_unsubscribe, method_inbox_ack,
    method_inbox_nack, method_inbox_extend, method_inbox_pull, method_inbox_stats;
/* workflow_start.c, workflow_manage.c */
method_handler method_workflow_start;
method_handler method_workflow_cancel, method_workflow_resume, method_workflow_fork,
    method_workflow_restart, method_workflow_rewind, method_workflow_delete;

/* dead_letters.c */
method_handler method_dead_list, method_dead_show, method_redrive, method_purge;
struct subscription *subscription_find(struct session *session, struct text agent);
struct subscription *subscription_add(struct session *session, struct text agent);
/* Zeroed, and free()d; out of memory ends the process, whose client comes again. */
void *session_allocate(size_t size);
void subscription_remove(struct session *session, struct subscription *subscription);
/* Has the database forget a subscription that this session does not have (any more). */
void subscription_leave(struct session *session, struct text agent);
void subscription_clear(struct session *session, struct subscription *subscription);
void deliveries_wake(struct session *session, struct subscription *subscription, int64_t at);
bool deliveries_hand_over(struct session *session, struct text datagram);
void deliveries_advance(struct session *session);
void deliveries_written(struct session *session);
void deliveries_note(struct session *session);
void deliveries_drop(struct session *session);
void delivery_refuse(struct session *session, const struct delivery *delivery);
int64_t deliveries_deadline(const struct session *session);
void flight_add(struct session *session, struct subscription *subscription, struct text agent,
                const struct delivery *delivery, int64_t lease_ends);
struct flight *flight_find(struct session *session, struct text delivery_id);
void flight_remove(struct session *session, struct flight *flight);
void pulls_advance(struct session *session);
void pulls_drop(struct session *session);
void pulls_wake(struct session *session); /* the bell rang */
/* The subscription is gone, and with it that somebody rings for the pulls beside it. */
void pulls_unwatched(struct session *session, struct text agent);
int64_t pulls_deadline(const struct session *session);
void claim_size_learn(struct session *session, size_t count, size_t bytes);
size_t deliveries_bytes(const struct delivery *deliveries, size_t count);

/* information.c */
method_handler method_health, method_status, method_presence, method_config_get, method_ping,
    method_agents_list, method_sessions_list, method_workflow_status, method_workflow_list,
    method_workflow_events;

/* presence.c */
struct document *presence_document(struct arena *arena, struct db_rows *rows);
/* The list; watch: and to be rung when it changes. */
void presence_call(struct session *session, struct arena *arena, bool watch, int64_t limit,
                   struct db_call *ret_call);
/* Its parameters, for a statement that ends with them. */
void presence_add(struct session *session, bool watch, int64_t limit, struct db_call *ret_call);
bool presence_seen(struct session *session, struct db_rows *rows); /* is it another than before? */
void presence_wake(struct session *session);
void presence_advance(struct session *session);
int64_t presence_deadline(const struct session *session);

static inline int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
