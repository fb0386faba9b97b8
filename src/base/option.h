/* SPDX-License-Identifier: MIT
 *
 * Configuration: environment variables, and one `.env`-style file whose lines the environment
 * overrides. The rows are in option.def.
 */
#ifndef OPENCLAW_BASE_OPTION_H
#define OPENCLAW_BASE_OPTION_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum auth_mode { AUTH_TOKEN, AUTH_NONE };
enum metrics_access { METRICS_OFF, METRICS_TOKEN, METRICS_PUBLIC };
enum openapi_mode { OPENAPI_OFF, OPENAPI_TOKEN, OPENAPI_PUBLIC };

struct options {
#define OPTION_TEXT(field, name, otherwise, check, help)     const char *field;
#define OPTION_INT(field, name, otherwise, min, max, help)   int64_t field;
#define OPTION_CHOICE(field, name, otherwise, choices, help) int field;
#define OPTION_SECRET(field, name, help)                     const char *field;
#include "base/option.def"
#undef OPTION_TEXT
#undef OPTION_INT
#undef OPTION_CHOICE
#undef OPTION_SECRET
};

/* What only libpq knows of a setting: NULL, or what is allowed instead. `name` is that of a secret
 * of option.def, or begins with PG. src/db has it (db_setting_fault); this folder knows no libpq.
 */
typedef const char *option_check(const char *name, const char *value);

/* Reads `file`, or where it is NULL the file named by GATEWAY_ENV, or else
 * /etc/openclaw-gateway/gateway.env if that exists; then the environment (but for HTTP_* under
 * GATEWAY_INTERFACE, where these are a client's headers); checks every value and
 * the rules between them (AUTH_MODE=none needs a loopback HOST). PG* names in the file become
 * environment variables for libpq unless they are set already; `check`, where it is not NULL,
 * judges these and the secrets. Each fault is a line on `report` (file, line, name, what is
 * allowed; an unknown name is a fault, with the nearest known one); all faults are reported, then
 * ERR_CONFIG. An empty value is as good as none; a text or secret that is not set is "", never
 * NULL. Texts live until the process ends. */
enum error options_load(struct options *ret_options, const char *file, option_check *check,
                        FILE *report) MUST_CHECK;

/* When a program asks `check`: loading libpq is most of what a short-lived one does at its start.
 */
enum option_check_when { CHECK_AT_EACH_START, CHECK_WHEN_TOLD };

/* What every program's main does with its arguments: --config FILE, --check-config (loads, says
 * "configuration ok" or the faults, exits 0 or 78), --version, --help (prints `usage`). Returns
 * the index of the first argument that is not one of these; exits on a fault (78 or 64).
 * CHECK_WHEN_TOLD: `check` is for --check-config alone. */
int options_from_arguments(struct options *ret_options, int argc, char **argv, const char *usage,
                           option_check *check, enum option_check_when when);

/* NAME=value lines; secrets as "(set)" or "(not set)". */
void options_print(const struct options *options, FILE *out);

#endif
