/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#include <stddef.h>

#ifdef OPENCLAW_FAULT_POINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t kill_at; /* 0: never */
static bool stops;      /* it is no death, but a sleep until SIGCONT */
static const char *only_name;
static int log_fd = -1;
static int64_t passed;

static void configure(void)
{
    const char *at = getenv("OPENCLAW_FAULT_AT");
    const char *log = getenv("OPENCLAW_FAULT_LOG");

    const char *act = getenv("OPENCLAW_FAULT_ACT");

    only_name = getenv("OPENCLAW_FAULT_NAME");
    stops = act != NULL && strcmp(act, "stop") == 0;
    if (at != NULL && *at != '\0' && text_int64(text_of(at), 1, INT64_MAX, &kill_at) != OK) {
        fputs("OPENCLAW_FAULT_AT is not a number from 1 on\n", stderr);
        abort();
    }
    if (log != NULL && *log != '\0') {
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) {
            perror(log);
            abort();
        }
    }
}

/* Under the lock, so that the point that is logged last is the one that killed. */
void fault_point(const char *name)
{
    static int configured;
    char line[128];
    int len;

    (void)pthread_mutex_lock(&lock);
    if (!configured) {
        configure();
        configured = 1;
    }
    if (only_name == NULL || *only_name == '\0' || strcmp(only_name, name) == 0) {
        passed++;
        if (log_fd >= 0) {
            len = snprintf(line, sizeof(line), "%lld %.100s\n", (long long)passed, name);
            if (write(log_fd, line, (size_t)len) != len)
                abort();
        }
        if (passed == kill_at && stops) {
            (void)raise(SIGSTOP);
        } else if (passed == kill_at) {
            (void)raise(SIGKILL);
            for (;;)
                (void)pause();
        }
    }
    (void)pthread_mutex_unlock(&lock);
}

#endif
