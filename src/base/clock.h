/* SPDX-License-Identifier: MIT
 *
 * The monotonic clock, for waiting and for measuring how long something took. No decision about
 * a message or a workflow is taken by it: those are the database's clock.
 */
#ifndef OPENCLAW_BASE_CLOCK_H
#define OPENCLAW_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_ms(void);      /* CLOCK_MONOTONIC, milliseconds */
int64_t clock_us(void);      /* CLOCK_MONOTONIC, microseconds */
int64_t clock_wall_ms(void); /* CLOCK_REALTIME, for log stamps and `ts` fields only */
void clock_sleep_ms(int64_t ms);
/* A pause around `ms`, uniform in [ms/2, ms*3/2], so that waiters do not look in step. */
int64_t clock_jitter_ms(int64_t ms);

#define CLOCK_ISO_SIZE 25 /* "2026-11-22T12:00:00.000Z" and a NUL */
void clock_iso(int64_t epoch_ms, char ret_text[CLOCK_ISO_SIZE]);

#endif
