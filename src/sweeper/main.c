/* SPDX-License-Identifier: MIT
 *
 * openclaw-gateway-sweeper: recovers what others left, wakes what is due, deletes what is old. As a
 * service it sweeps again and again; with --once it does one full sweep, for cron.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/shared.h"
#include "durable/bells.h"
#include "sweeper/listen.h"
#include "sweeper/sweep.h"

#define PROGRAM "openclaw-gateway-sweeper"
#define AWAY_PAUSE_MAX                                                                             \
    660 /* ms between two tries to reach the database; jitter makes it a second */

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Until the time is up, the bell rings or a signal comes, also one that came a moment ago. Bells of
 * other hosts are passed on meanwhile. */
static void wait_for_work(struct bell *bell, struct listener *listener, int64_t ms)
{
    int64_t until = clock_ms() + ms;
    bool rung = false;
    sigset_t signals, before;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &before);
    do {
        int64_t now = clock_ms(), deadline = until;
        fd_set reads, writes;
        int max = bell->fd < FD_SETSIZE ? bell->fd : -1;

        FD_ZERO(&reads);
        FD_ZERO(&writes);
        if (max >= 0)
            FD_SET(bell->fd, &reads);
        max = listener_wait(listener, &reads, &writes, max, &deadline);
        int64_t left = deadline > now ? deadline - now : 0;
        struct timespec timeout = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
        if (!ended && pselect(max + 1, &reads, &writes, NULL, &timeout, &before) > 0)
            rung = bell->fd >= 0 && bell->fd < FD_SETSIZE && FD_ISSET(bell->fd, &reads);
        listener_advance(listener);
    } while (!rung && !ended && clock_ms() < until);
    if (rung)
        bell_drain(bell);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void log_sweep(const struct sweep *sweep)
{
    struct log_field fields[COUNT__MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < COUNT__MAX; i++)
        if (sweep->counts[i] > 0)
            fields[count++] = LOG_INT(count_keys[i], sweep->counts[i]);
    log_write(LOG_INFO, "sweep", fields, count);
}

static int sweep_once(struct sweep *sweep)
{
    const char *separator = " ";

    sweep->once = true;
    int64_t begun = clock_ms();
    enum error error = sweep_run(sweep, true);
    measure_sweep(sweep, clock_ms() - begun);
    bells_send(sweep->db);
    printf("swept:");
    for (unsigned i = 0; i < COUNT__MAX; i++)
        if (sweep->counts[i] > 0) {
            printf("%s%s %lld", separator, count_names[i], (long long)sweep->counts[i]);
            separator = ", ";
        }
    if (error != OK)
        printf("%s%s: %s", separator, error_phrase(error), sweep->failure.detail);
    else if (*separator == ' ')
        printf(" nothing to do");
    putchar('\n');
    return error_exit_code(error);
}

static int sweep_for_ever(struct sweep *sweep, const struct options *options)
{
    struct listener listener;
    struct failure failure;
    struct bell bell;
    bool said_ready = false;

    if (bell_open(&bell, options->runtime_dir, sweep->engine.executor.id, &failure) != OK)
        log_failure("sweep.no_bell", &failure);
    sweep_beat_in_calls(sweep);
    listener_start(&listener, &sweep->engine);
    int64_t pause = options->sweep_interval_ms;
    while (!ended) {
        int64_t begun = clock_ms();
        enum error error = sweep_run(sweep, false);
        measure_sweep(sweep, clock_ms() - begun);
        if (!sweep->away)
            bells_send(sweep->db);
        if (sweep_did_something(sweep) && !sweep->away)
            log_sweep(sweep);
        if (!said_ready)
            notify_supervisor("READY=1");
        said_ready = true;
        notify_supervisor("WATCHDOG=1");
        if (error == OK || !sweep->away)
            pause = options->sweep_interval_ms;
        else
            pause = pause * 2 < AWAY_PAUSE_MAX ? pause * 2 : AWAY_PAUSE_MAX;
        int64_t wait = clock_jitter_ms(pause);
        sweep_beat(wait);
        wait_for_work(&bell, &listener, wait);
    }
    notify_supervisor("STOPPING=1");
    sweep_stop_workers(sweep);
    listener_end(&listener);
    bell_close(&bell);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct sweep sweep;
    struct failure failure;
    int first = options_from_arguments(&options, argc, argv,
                                       "usage: " PROGRAM " [--config FILE] [--once]\n\n"
                                       "  --once           one full sweep, said in one line\n",
                                       db_setting_fault, CHECK_AT_EACH_START);
    bool once = first + 1 == argc && strcmp(argv[first], "--once") == 0;

    if (first < argc && !once) {
        fprintf(stderr, PROGRAM ": %s is no argument of it; see --help\n", argv[first]);
        return error_exit_code(ERR_INVALID_REQUEST);
    }
    log_open(PROGRAM, (enum log_level)options.log_level);
    catch_signals();
    if (shared_open(options.runtime_dir, &failure) != OK)
        log_failure("shared.open", &failure);
    db_configure(&options);
    sweep_init(&sweep, &options, &ended);
    int code = once ? sweep_once(&sweep) : sweep_for_ever(&sweep, &options);
    sweep_end(&sweep);
    sweep_release(&sweep);
    return code;
}
