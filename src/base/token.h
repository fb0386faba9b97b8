/* SPDX-License-Identifier: MIT
 *
 * Access tokens: 256 random bits, "ocg_" and 43 characters of base64url. The database stores
 * only the SHA-256 of the whole text; the text itself is shown once.
 */
#ifndef OPENCLAW_BASE_TOKEN_H
#define OPENCLAW_BASE_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

#define TOKEN_SIZE      48  /* 47 characters and a NUL */
#define TOKEN_TEXT_MAX  256 /* what a client may present as a token */
#define TOKEN_HASH_SIZE 65  /* SHA-256 as lower-case hexadecimal and a NUL */

void token_new(char ret_token[TOKEN_SIZE]);
void token_hash(struct text token, char ret_hash[TOKEN_HASH_SIZE]);

/* base64url without padding (RFC 4648, section 5). Decoding refuses anything else. */
enum error base64url_decode(struct arena *arena, struct text text, struct text *ret_bytes) MUST_CHECK;

#endif
