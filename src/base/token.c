/* SPDX-License-Identifier: MIT */
#include "base/token.h"

#include <nettle/sha2.h>
#include <nettle/version.h>

#include "base/uuid.h"

#define TOKEN_BYTES 32

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Writes ceil(count * 4 / 3) characters and a NUL. */
static void base64url_encode(const unsigned char *bytes, size_t count, char *ret_text)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < count; i++) {
        bits = bits << 8 | bytes[i];
        for (have += 8; have >= 6; have -= 6)
            *ret_text++ = alphabet[bits >> (have - 6) & 63];
    }
    if (have > 0)
        *ret_text++ = alphabet[bits << (6 - have) & 63];
    *ret_text = '\0';
}

void token_new(char ret_token[TOKEN_SIZE])
{
    unsigned char bytes[TOKEN_BYTES];

    random_bytes(bytes, sizeof(bytes));
    memcpy(ret_token, "ocg_", 4);
    base64url_encode(bytes, sizeof(bytes), ret_token + 4);
}

void token_hash(struct text token, char ret_hash[TOKEN_HASH_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx context;

    sha256_init(&context);
    if (token.len > 0)
        sha256_update(&context, token.len, (const uint8_t *)token.data);
#if NETTLE_VERSION_MAJOR >= 4
    sha256_digest(&context, digest);
#else
    sha256_digest(&context, sizeof(digest), digest);
#endif
    for (size_t i = 0; i < sizeof(digest); i++) {
        ret_hash[2 * i] = digits[digest[i] >> 4];
        ret_hash[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hash[2 * sizeof(digest)] = '\0';
}

enum error base64url_decode(struct arena *arena, struct text text, struct text *ret_bytes)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;
    char *bytes;

    if (text.len % 4 == 1)
        return ERR_INVALID_REQUEST;
    bytes = arena_alloc(arena, text.len / 4 * 3 + 3);
    for (size_t i = 0; i < text.len; i++) {
        const char *found = text.data[i] != '\0' ? strchr(alphabet, text.data[i]) : NULL;

        if (found == NULL)
            return ERR_INVALID_REQUEST;
        bits = bits << 6 | (uint32_t)(found - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes[len++] = (char)(bits >> have & 255);
        }
    }
    /* Bits left over must be zero: else two texts would mean the same bytes. */
    if ((bits & ((1U << have) - 1)) != 0)
        return ERR_INVALID_REQUEST;
    *ret_bytes = (struct text){bytes, len};
    return OK;
}
