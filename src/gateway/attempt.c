/* SPDX-License-Identifier: MIT */
#include "gateway/attempt.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/shared.h"
#include "base/token.h"

#define KEY_SIZE (INET6_ADDRSTRLEN + 8)

static struct text address_key(struct text address, char buffer[KEY_SIZE])
{
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN] = "";

    if (address.len > 0 && address.len < sizeof(text)) {
        memcpy(text, address.data, address.len);
        text[address.len] = '\0';
    }
    if (inet_pton(AF_INET6, text, bytes) == 1 &&
        memcmp(bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) != 0) {
        memset(bytes + 8, 0, 8);
        (void)inet_ntop(AF_INET6, bytes, text, sizeof(text));
    }
    (void)snprintf(buffer, KEY_SIZE, "address %s", text);
    return text_of(buffer);
}

static enum error limited(struct failure *failure, int64_t wait_ms, int64_t *ret_wait_ms)
{
    *ret_wait_ms = wait_ms;
    (void)failure_set(failure, ERR_AUTH_RATE_LIMITED,
                      "come again in %lld ms, with a token that is good; AUTH_FAILURES_PER_MINUTE "
                      "is the limit",
                      (long long)wait_ms);
    failure->retry_ms = wait_ms;
    return ERR_AUTH_RATE_LIMITED;
}

enum error attempt_check(const struct options *options, struct text address, struct text credential,
                         struct failure *failure, int64_t *ret_wait_ms)
{
    char buffer[KEY_SIZE], hash[TOKEN_HASH_SIZE];
    int64_t wait_ms =
        limiter_wait_ms(address_key(address, buffer), options->auth_failures_per_minute);

    if (wait_ms == 0)
        return OK;
    token_hash(credential, hash);
    if (seen_lately(text_of(hash)))
        return OK;
    return limited(failure, wait_ms, ret_wait_ms);
}

void attempt_succeeded(struct text credential)
{
    char hash[TOKEN_HASH_SIZE];

    token_hash(credential, hash);
    seen_now(text_of(hash));
}

enum error attempt_failed(const struct options *options, struct text address, const char *principal,
                          struct failure *failure, int64_t *ret_wait_ms)
{
    char buffer[KEY_SIZE], name[AGENT_ID_MAX + 16];
    int64_t limit = options->auth_failures_per_minute, wait_ms;

    limiter_count(address_key(address, buffer), limit);
    if (principal[0] == '\0')
        return ERR_UNAUTHORIZED;
    (void)snprintf(name, sizeof(name), "principal %s", principal);
    wait_ms = limiter_wait_ms(text_of(name), limit);
    if (wait_ms > 0)
        return limited(failure, wait_ms, ret_wait_ms);
    limiter_count(text_of(name), limit);
    return ERR_UNAUTHORIZED;
}
