/* SPDX-License-Identifier: MIT
 *
 * The check of JSON text before any library sees it. Knows RFC 8259 and our limits; builds nothing.
 * Private to document.c.
 */
#ifndef OPENCLAW_BASE_DOCUMENT_SCAN_H
#define OPENCLAW_BASE_DOCUMENT_SCAN_H

#include "base/document.h"

/* What limits->depth may be at most; a larger one counts as this. */
#define DOCUMENT_SCAN_DEPTH_MAX 256

/* *ret_keys: the number of members of all objects together. Errors: those of document_parse(), but
 * for DUPLICATE_KEY, which is found by comparing *ret_keys with what was built. */
enum error document_scan(struct text text, const struct document_limits *limits,
                         struct failure *failure, size_t *ret_keys) MUST_CHECK;

/* The same text again, of which it is known that it has `keys` members and that some object has a
 * key twice: reports where. Takes n log n time whatever the keys are. */
enum error document_scan_duplicate(struct arena *arena, struct text text,
                                   const struct document_limits *limits, size_t keys,
                                   struct failure *failure) MUST_CHECK;

#endif
