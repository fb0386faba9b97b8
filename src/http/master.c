/* SPDX-License-Identifier: MIT */
#include "http/master.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h> /* PR_SET_PDEATHSIG, of Linux: no worker survives its master */
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/worker.h"

#define YOUNG_MS         1000 /* a worker that dies sooner after its start than this … */
#define RESTART_FIRST_MS 50   /* … is started again after so long, doubling … */
#define RESTART_MAX_MS   2000 /* … up to this; any other at once */
#define KILL_MARGIN_MS   2000 /* what a worker may take beyond its own limit */

struct slot {
    pid_t pid; /* 0: to be started */
    int64_t started_ms, not_before_ms, delay_ms;
};

struct master {
    const struct options *options;
    const struct listener *listener;
    struct slot *slots;
    size_t count;
    sigset_t signals;
};

static void block_signals(sigset_t *ret_signals)
{
    sigemptyset(ret_signals);
    sigaddset(ret_signals, SIGTERM);
    sigaddset(ret_signals, SIGINT);
    sigaddset(ret_signals, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, ret_signals, NULL);
}

static void start_worker(struct master *master, struct slot *slot)
{
    pid_t self = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != self) /* it died before it could be watched */
            _exit(0);
        _exit(worker_run(master->options, master->listener));
    }
    slot->started_ms = clock_ms();
    if (pid < 0) {
        log_event(LOG_ERROR, "master.fork", LOG_STR("error", strerror(errno)));
        slot->not_before_ms = slot->started_ms + RESTART_MAX_MS;
        return;
    }
    slot->pid = pid;
}

static void note_death(struct slot *slot, int status)
{
    int64_t now = clock_ms();

    slot->delay_ms = now - slot->started_ms >= YOUNG_MS ? 0
                     : slot->delay_ms == 0              ? RESTART_FIRST_MS
                                                        : slot->delay_ms * 2;
    if (slot->delay_ms > RESTART_MAX_MS)
        slot->delay_ms = RESTART_MAX_MS;
    slot->not_before_ms = now + slot->delay_ms;
    log_event(LOG_WARN, "worker.died", LOG_INT("worker", slot->pid),
              LOG_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
              LOG_INT("exit", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
              LOG_INT("restart_ms", slot->delay_ms));
    slot->pid = 0;
}

static size_t reap(struct master *master, int *worst)
{
    size_t alive = 0;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < master->count; i++) {
            if (master->slots[i].pid != pid)
                continue;
            if (worst == NULL)
                note_death(&master->slots[i], status);
            else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                *worst = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            master->slots[i].pid = 0;
        }
    for (size_t i = 0; i < master->count; i++)
        alive += master->slots[i].pid != 0;
    return alive;
}

/* Starts those that are due; returns how long to wait for the next one. */
static int64_t start_due(struct master *master)
{
    int64_t wait_ms = INT32_MAX;

    for (size_t i = 0; i < master->count; i++) {
        struct slot *slot = &master->slots[i];
        int64_t left = slot->not_before_ms - clock_ms();

        if (slot->pid == 0 && left <= 0)
            start_worker(master, slot);
        else if (slot->pid == 0 && left < wait_ms)
            wait_ms = left;
    }
    return wait_ms;
}

/* The signal that came, 0: none within the time. */
static int wait_signal(const struct master *master, int64_t ms)
{
    struct timespec limit = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    int number = sigtimedwait(&master->signals, NULL, &limit);

    return number > 0 ? number : 0;
}

static void signal_workers(const struct master *master, int number)
{
    for (size_t i = 0; i < master->count; i++)
        if (master->slots[i].pid != 0)
            (void)kill(master->slots[i].pid, number);
}

static int stop(struct master *master)
{
    int64_t deadline = clock_ms() + WORKER_DRAIN_MS + KILL_MARGIN_MS;
    int worst = 0;

    listener_unlink(master->listener);
    signal_workers(master, SIGTERM);
    while (reap(master, &worst) > 0) {
        int64_t left = deadline - clock_ms();

        if (left <= 0) {
            signal_workers(master, SIGKILL);
            left = KILL_MARGIN_MS;
        }
        (void)wait_signal(master, left);
    }
    log_event(LOG_INFO, "master.stopped", LOG_INT("exit", worst));
    return worst;
}

int master_run(const struct options *options, const struct listener *listener)
{
    struct master master = {
        .options = options, .listener = listener, .count = (size_t)options->http_processes};
    int number;

    master.slots = calloc(master.count, sizeof(*master.slots));
    if (master.slots == NULL)
        abort();
    block_signals(&master.signals);
    log_event(LOG_INFO, "master.started", LOG_INT("processes", master.count),
              LOG_STR("socket", listener->ours ? listener->file.path : "inherited"));
    do {
        int64_t wait_ms;

        (void)reap(&master, NULL);
        wait_ms = start_due(&master);
        number = wait_signal(&master, wait_ms);
    } while (number != SIGTERM && number != SIGINT);
    number = stop(&master);
    free(master.slots);
    return number;
}
