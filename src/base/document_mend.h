/* SPDX-License-Identifier: MIT
 *
 * Makes legal JSON that a document cannot hold into such as it can. Private to document.c.
 */
#ifndef OPENCLAW_BASE_DOCUMENT_MEND_H
#define OPENCLAW_BASE_DOCUMENT_MEND_H

#include "base/document.h"

/* Stands behind an integer that is to be read as a double; what it stands behind is its source
 * text. */
#define DOCUMENT_MEND_MARK "e-0000000"

/* The text with \u0000 and halves of surrogate pairs as \ufffd, and with the mark behind each
 * integer beyond int64. Whatever else is wrong stays so. */
struct text document_mend(struct arena *arena, struct text text);

#endif
