/* SPDX-License-Identifier: MIT */
#include "http/authenticate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/shared.h"
#include "base/token.h"
#include "gateway/attempt.h"

#define CACHE_SLOTS            256 /* a power of two */
#define FAILURE_LOG_PER_SECOND 10

struct slot {
    char hash[TOKEN_HASH_SIZE];
    int64_t until_ms;
    struct principal principal;
};

struct authenticator {
    struct http_server *server;
    pthread_mutex_t mutex;
    struct slot slots[CACHE_SLOTS];
    shared_word *failed, *limited;
    int64_t log_second;
    int64_t logged, suppressed;
};

struct authenticator *authenticator_new(struct http_server *server)
{
    struct authenticator *authenticator = calloc(1, sizeof(*authenticator));

    if (authenticator == NULL)
        abort();
    authenticator->server = server;
    authenticator->failed = counter_of("auth_failures http");
    authenticator->limited = counter_of("auth_limited http");
    pthread_mutex_init(&authenticator->mutex, NULL);
    return authenticator;
}

/* A slot is chosen by a digest nobody can steer: a token that shares one only costs a lookup. */
static struct slot *slot_of(struct authenticator *authenticator, const char *hash)
{
    unsigned index = 0;

    for (int i = 0; i < 4; i++)
        index = index * 31 + (unsigned char)hash[i];
    return &authenticator->slots[index % CACHE_SLOTS];
}

static bool recall(struct authenticator *authenticator, const char *hash,
                   struct principal *ret_principal)
{
    struct slot *slot = slot_of(authenticator, hash);
    bool found;

    pthread_mutex_lock(&authenticator->mutex);
    found = slot->until_ms > clock_ms() && memcmp(slot->hash, hash, TOKEN_HASH_SIZE) == 0;
    if (found)
        *ret_principal = slot->principal;
    pthread_mutex_unlock(&authenticator->mutex);
    return found;
}

static void remember(struct authenticator *authenticator, const char *hash,
                     const struct principal *principal, int64_t asked_ms)
{
    struct slot *slot = slot_of(authenticator, hash);

    pthread_mutex_lock(&authenticator->mutex);
    memcpy(slot->hash, hash, TOKEN_HASH_SIZE);
    slot->principal = *principal;
    slot->until_ms =
        asked_ms + (principal->expires_in_ms < CREDENTIAL_CACHE_MS ? principal->expires_in_ms
                                                                   : CREDENTIAL_CACHE_MS);
    pthread_mutex_unlock(&authenticator->mutex);
}

/* One stable line for each failed attempt, which fail2ban can read; a flood of them is cut. */
static void log_refusal(struct authenticator *authenticator, const struct http_request *request,
                        const char *reason, const struct principal *whose)
{
    int64_t second = clock_ms() / 1000;
    int64_t suppressed = 0;
    bool quiet;

    pthread_mutex_lock(&authenticator->mutex);
    if (authenticator->log_second != second) {
        authenticator->log_second = second;
        suppressed = authenticator->suppressed;
        authenticator->logged = authenticator->suppressed = 0;
    }
    quiet = authenticator->logged == FAILURE_LOG_PER_SECOND;
    if (quiet)
        authenticator->suppressed++;
    else
        authenticator->logged++;
    pthread_mutex_unlock(&authenticator->mutex);
    if (!quiet)
        log_event(LOG_WARN, "auth.failed", LOG_TEXT("remote", request->remote_address),
                  LOG_STR("reason", reason), LOG_STR("principal", whose->id[0] ? whose->id : NULL),
                  LOG_TEXT("request", request->id), LOG_INT("suppressed", suppressed));
}

/* Only where a connection is free: the next look at this token tells again. */
static void note_use(struct authenticator *authenticator, struct arena *arena,
                     const struct principal *principal)
{
    struct http_server *server = authenticator->server;
    struct failure failure = {.error = OK};
    struct db_rows *rows;
    struct db_call call;
    struct db *db = principal->use_is_news ? db_pool_try(server->pool) : NULL;

    if (db == NULL)
        return;
    principal_used_call(&call, arena, principal->credential_id);
    if (db_run(db, &call, &failure, &rows) != OK)
        log_failure("credential.used", &failure);
    http_database_give(server, db);
}

static enum error check_token(struct authenticator *authenticator,
                              const struct http_request *request, struct text token,
                              struct failure *failure, struct principal *ret_principal)
{
    const struct options *options = authenticator->server->options;
    int64_t wait_ms;
    char hash[TOKEN_HASH_SIZE];
    int64_t asked = clock_ms();
    struct db_rows *rows;
    struct db_call call;
    enum error error;

    token_hash(token, hash);
    if (recall(authenticator, hash, ret_principal))
        return OK;
    error = attempt_check(options, request->remote_address, token, failure, &wait_ms);
    if (error != OK)
        return error;
    principal_check_call(&call, request->arena, token);
    error = http_database_run(authenticator->server, &call, failure, &rows);
    if (error == OK)
        error = principal_check_result(rows, failure, ret_principal);
    if (error == OK) {
        remember(authenticator, hash, ret_principal, asked);
        note_use(authenticator, request->arena, ret_principal);
        attempt_succeeded(token);
    } else if (error == ERR_UNAUTHORIZED) {
        error =
            attempt_failed(options, request->remote_address, ret_principal->id, failure, &wait_ms);
    }
    return error;
}

enum error authenticate(struct authenticator *authenticator, const struct http_request *request,
                        struct failure *failure, struct principal *ret_principal)
{
    struct principal principal = {.id = ""};
    struct text token;
    enum error error;

    if (authenticator->server->options->auth_mode == AUTH_NONE) {
        principal_anybody(TEXT_NONE, ret_principal);
        return OK;
    }
    token = bearer_token(request->authorization);
    if (token.data == NULL)
        error = failure_set(failure, ERR_UNAUTHORIZED, "send Authorization: Bearer and a token");
    else
        error = check_token(authenticator, request, token, failure, &principal);
    if (error == ERR_UNAUTHORIZED || error == ERR_AUTH_RATE_LIMITED) {
        const char *reason = error == ERR_AUTH_RATE_LIMITED ? "too many"
                             : token.data == NULL           ? "no token"
                                                            : "bad token";

        counter_add(authenticator->failed, 1);
        if (error == ERR_AUTH_RATE_LIMITED)
            counter_add(authenticator->limited, 1);
        log_refusal(authenticator, request, reason, &principal);
    }
    if (error == OK)
        *ret_principal = principal;
    return error;
}

/* Not the token's own hash, by which attempt.c knows it: there it may be anybody's. */
static struct text scraper_key(const struct http_request *request, char hash[TOKEN_HASH_SIZE])
{
    struct text token = bearer_token(request->authorization);

    if (token.data == NULL)
        return TEXT_NONE;
    token_hash(text_of(arena_printf(request->arena, "metrics %.*s", (int)token.len, token.data)),
               hash);
    return text_of(hash);
}

void authenticate_note_scraper(const struct http_request *request)
{
    char hash[TOKEN_HASH_SIZE];
    struct text key = scraper_key(request, hash);

    if (key.data != NULL)
        seen_now(key);
}

bool authenticate_known_scraper(const struct http_request *request)
{
    char hash[TOKEN_HASH_SIZE];
    struct text key = scraper_key(request, hash);

    return key.data != NULL && seen_lately(key);
}
