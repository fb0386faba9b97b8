/* SPDX-License-Identifier: MIT
 *
 * What an error of the server, of the pooler or of the network means to a caller. Some come
 * without SQLSTATE, and PgBouncer gives all of its own the same one (08P01), so those are known
 * by their text.
 *
 * A detail never has values in it: the server's DETAIL and CONTEXT are left out, and of messages
 * about data only the words that stand before the first quotation.
 */
#include <stdio.h>
#include <string.h>

#include "base/shared.h"
#include "db/internal.h"

#define MIGRATE_HINT "; run gatewayctl migrate"
#define STATE_SIZE   5

struct meaning {
    const char *state; /* a SQLSTATE, or its first two characters: the class */
    enum error error;
    const char *hint; /* what to do next; put behind the message */
};

/* The first match counts, so codes stand before their classes. */
static const struct meaning meanings[] = {
    /* raised by our own functions */
    {"OC001", ERR_FENCED, ""},
    {"OC002", ERR_NOT_FOUND, ""},
    {"OC003", ERR_FORBIDDEN, ""},
    {"OC004", ERR_STALE, ""},
    {"OC005", ERR_INVALID_REQUEST, ""},
    {"OC006", ERR_IDEMPOTENCY_CONFLICT, ""},
    {"OC007", ERR_SCHEMA, MIGRATE_HINT},
    {"OC008", ERR_INBOX_FULL, ""},
    {"OC009", ERR_PRECONDITION_FAILED, ""},
    {"OC010", ERR_RATE_LIMITED, ""},
    {"OC011", ERR_UNKNOWN_RECIPIENT, ""},
    {"OC012", ERR_ALREADY_EXISTS, ""},
    {"OC013", ERR_UNAUTHORIZED, ""},

    /* another try may succeed at once */
    {"40001", ERR_SERIALIZATION, ""},
    {"40P01", ERR_SERIALIZATION, ""},
    {"40003", ERR_IN_DOUBT, ""},
    {"40", ERR_SERIALIZATION, ""},
    {"55P03", ERR_SERIALIZATION, ""},
    {"55006", ERR_SERIALIZATION, ""},
    {"08007", ERR_IN_DOUBT, ""},

    /* the server takes no writes, or nothing at all, now */
    {"25006", ERR_READ_ONLY, "; is this a standby?"},
    {"57014", ERR_UNAVAILABLE, ""},
    {"57", ERR_UNAVAILABLE, ""},
    {"53300", ERR_UNAVAILABLE, "; raise max_connections or lower the pool sizes"},
    {DB_STATE_DISK_FULL, ERR_READ_ONLY, "; the database's disk is full"},
    {"53", ERR_UNAVAILABLE, ""},
    {"58", ERR_UNAVAILABLE, ""},
    {"08", ERR_UNAVAILABLE, ""},
    {"28", ERR_UNAVAILABLE, "; check DATABASE_URL or PGUSER and PGPASSWORD"},
    {"3D000", ERR_UNAVAILABLE, "; check DATABASE_URL or PGDATABASE"},

    /* the schema is not the one this program was built for */
    {"3F000", ERR_SCHEMA, MIGRATE_HINT},
    {"42P01", ERR_SCHEMA, MIGRATE_HINT},
    {"42703", ERR_SCHEMA, MIGRATE_HINT},
    {"42704", ERR_SCHEMA, MIGRATE_HINT},
    {"42725", ERR_SCHEMA, MIGRATE_HINT},
    {"42804", ERR_SCHEMA, MIGRATE_HINT},
    {"42883", ERR_SCHEMA, MIGRATE_HINT},
    {"42501", ERR_DATABASE, "; run gatewayctl doctor: the role lacks a right"},
};

/* The words of a server or a pooler that lets nobody in: whatever was sent went nowhere. These come
 * without SQLSTATE, or with one that says nothing. */
static const struct refusal {
    const char *words;
    const char *hint;
} refusals[] = {
    {"query_wait_timeout", "; the pooler had no free server connection"},
    {"no more connections allowed", "; raise max_client_conn of the pooler"},
    {"too many connections", "; lower the pool sizes or raise the limit"},
    {"too many clients", "; lower the pool sizes or raise max_connections"},
    {"remaining connection slots", "; lower the pool sizes or raise max_connections"},
    {"unsupported startup parameter", "; a pooler takes no `options`, nor PGOPTIONS"},
    {"authentication failed", "; check the user and password of DATABASE_URL or PG*"},
    {"no password supplied", "; set it in DATABASE_URL, PGPASSWORD or PGPASSFILE"},
    {"pg_hba.conf", "; check who may connect from where"},
    {"no such database", "; check DATABASE_URL or PGDATABASE"},
    {"no such user", "; check DATABASE_URL or PGUSER"},
    {"does not exist", "; check DATABASE_URL or PG*"},
    {"does not allow connections", ""},
    {"server_login_retry", "; the pooler cannot log in at the server"},
    {"server login has been failing", "; the pooler cannot log in at the server"},
    {"cannot connect to server", "; the pooler does not reach the server"},
    {"client_login_timeout", ""},
    {"the database system is starting up", ""},
    {"the database system is shutting down", ""},
    {"the database system is in recovery mode", ""},
    {"the database system is not yet accepting connections", ""},
    {"pgbouncer is shutting down", ""},
};

static const struct meaning *find_meaning(const char *state)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (strncmp(state, meanings[i].state, strlen(meanings[i].state)) == 0)
            return &meanings[i];
    return NULL;
}

static const struct refusal *find_refusal(const char *message)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strstr(message, refusals[i].words))
            return &refusals[i];
    return NULL;
}

static const char *field(const PGresult *result, int code)
{
    const char *text = result ? PQresultErrorField(result, code) : NULL;
    return text ? text : "";
}

bool outcome_is_fatal(const PGresult *result)
{
    const char *severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!*severity)
        severity = field(result, PG_DIAG_SEVERITY);
    return strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

/* ---- words ------------------------------------------------------------------------------ */

#define WORDS_SIZE 360
#define CUT        "…"

/* One line, without what follows `stop` where that is not 0; one that is too long ends behind a
 * whole word, and says so. */
static void copy_words(char *out, const char *message, char stop)
{
    size_t len = 0;
    for (; *message && *message != stop && len + sizeof(CUT) < WORDS_SIZE; message++) {
        char c = (unsigned char)*message < ' ' ? ' ' : *message;
        if (c != ' ' || (len > 0 && out[len - 1] != ' '))
            out[len++] = c;
    }
    bool cut = *message && *message != stop;
    out[len] = '\0';
    if (cut && strrchr(out, ' '))
        len = (size_t)(strrchr(out, ' ') - out);
    else
        len = utf8_valid_prefix(text_of(out));
    while (len > 0 && (out[len - 1] == ' ' || out[len - 1] == ':'))
        len--;
    memcpy(out + len, cut ? CUT : "", cut ? sizeof(CUT) : 1);
}

/* The connection's password, should a message have repeated it. */
static void hide_password(char *words, const PGconn *conn)
{
    const char *password = conn ? PQpass(conn) : NULL;
    size_t len = password ? strlen(password) : 0;
    if (len == 0)
        return;
    for (char *at = words; (at = strstr(at, password)) != NULL; at += len)
        memset(at, '*', len);
}

static void set_state(struct failure *failure, const char *state)
{
    if (strlen(state) == STATE_SIZE)
        memcpy(failure->sqlstate, state, STATE_SIZE + 1);
}

/* ---- outcomes --------------------------------------------------------------------------- */

enum error outcome_of_result(struct failure *failure, const char *name, const PGresult *result)
{
    const char *state = field(result, PG_DIAG_SQLSTATE);
    const char *message = field(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!*message)
        message = result ? PQresultErrorMessage(result) : "";
    const struct meaning *meaning = find_meaning(state);
    bool about_data = strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0;
    bool ours = strncmp(state, "OC", 2) == 0;

    char words[WORDS_SIZE];
    copy_words(words, message, about_data ? '"' : '\0');
    const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
    enum error error = meaning ? meaning->error : ERR_DATABASE;
    if (!meaning && find_refusal(message) && outcome_is_fatal(result))
        error = ERR_UNAVAILABLE;
    if (ours)
        failure_set(failure, error, "%s%s", words, meaning ? meaning->hint : "");
    else
        failure_set(failure, error, "%s: %s%s%s%s", name, words, *constraint ? " " : "", constraint,
                    meaning ? meaning->hint : "");
    failure->inside = !ours && error != ERR_SCHEMA; /* what to do about the schema is no secret */
    set_state(failure, state);
    if (strcmp(state, DB_STATE_DISK_FULL) == 0)
        atomic_store(counter_of(DISK_FULL_COUNTER), 1);
    return error;
}

enum error outcome_of_loss(struct failure *failure, const char *name, const PGconn *conn,
                           const PGresult *result, bool in_doubt)
{
    bool answered = result && PQresultStatus(result) != PGRES_TUPLES_OK &&
                    PQresultStatus(result) != PGRES_COMMAND_OK;
    const char *state = answered ? field(result, PG_DIAG_SQLSTATE) : "";
    if (*state && !outcome_is_fatal(result))
        return outcome_of_result(failure, name, result); /* an error came before the break */

    const char *message = answered ? field(result, PG_DIAG_MESSAGE_PRIMARY) : "";
    if (!*message)
        message = PQerrorMessage(conn);
    char words[WORDS_SIZE];
    copy_words(words, message, '\0');
    hide_password(words, conn);

    const struct refusal *refusal = find_refusal(message);
    enum error error = in_doubt && !refusal ? ERR_IN_DOUBT : ERR_UNAVAILABLE;
    failure_set(failure, error, "%s: %s%s", name, *words ? words : "the connection was refused",
                refusal ? refusal->hint : "");
    failure->inside = true; /* it names hosts, sockets and roles */
    set_state(failure, state);
    return error;
}

/* ---- cardinality ------------------------------------------------------------------------ */

enum error outcome_check_rows(struct failure *failure, const struct statement_info *info,
                              const PGresult *result)
{
    int count = PQntuples(result);
    const char *expected = NULL;
    switch (info->rows) {
    case ROWS_NONE:
        expected = count == 0 ? NULL : "none";
        break;
    case ROWS_ONE:
        expected = count == 1 ? NULL : "one";
        break;
    case ROWS_OPTIONAL:
        expected = count <= 1 ? NULL : "at most one";
        break;
    case ROWS_ANY:
        break;
    }
    if (!expected)
        return OK;
    return failure_set(failure, ERR_CARDINALITY, "%s: %d rows, expected %s", info->name, count,
                       expected);
}
