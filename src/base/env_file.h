/* SPDX-License-Identifier: MIT
 *
 * A file of NAME=value lines, as systemd's EnvironmentFile= reads them (but for `export `). A
 * shell's
 * `.` reads the same where a value with more than letters, digits and _./:@%+,=- stands in single
 * quotes; Docker's --env-file knows no quotes.
 *
 *   # comment, on a line of its own
 *   [export ]NAME=value          no white space, quotes or backslashes in it
 *   [export ]NAME='value'        as it stands
 *   [export ]NAME="value"        \" \\ \$ \` are escapes; a bare $ or ` is refused
 */
#ifndef OPENCLAW_BASE_ENV_FILE_H
#define OPENCLAW_BASE_ENV_FILE_H

#include "base/arena.h"
#include "base/error.h"

#define ENV_FILE_LINE_MAX 8192 /* bytes */

/* Called for each assignment; or, where `fault` is not NULL, for each line that is none, and then
 * name and value are NULL. `fault` says what is allowed. */
typedef void env_file_line(void *context, unsigned line, const char *name, const char *value,
                           const char *fault);

/* Texts live in the arena. Errors: NOT_FOUND, IO (with the reason in `failure`). */
enum error env_file_read(struct arena *arena, const char *path, env_file_line *each, void *context,
                         struct failure *failure) MUST_CHECK;

#endif
