/* SPDX-License-Identifier: MIT
 *
 * Named points at which a test can kill the process: before and after every database call, every
 * write to a client. Compiled to nothing unless configured with --enable-fault-points.
 *
 *   OPENCLAW_FAULT_AT=N        SIGKILL oneself at the N-th point passed (1, 2, 3 …)
 *   OPENCLAW_FAULT_ACT=stop    not SIGKILL but SIGSTOP; who is continued then goes on
 *   OPENCLAW_FAULT_NAME=NAME   count only points of this name
 *   OPENCLAW_FAULT_LOG=FILE    append "N NAME\n" for each point passed, before acting on it
 */
#ifndef OPENCLAW_BASE_FAULT_H
#define OPENCLAW_BASE_FAULT_H

#ifdef OPENCLAW_FAULT_POINTS
void fault_point(const char *name);
#define FAULT_POINT(name) fault_point(name)
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
