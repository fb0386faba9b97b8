/* SPDX-License-Identifier: MIT */
#ifndef OPENCLAW_BASE_NOTIFY_H
#define OPENCLAW_BASE_NOTIFY_H

/* Tells systemd (sd_notify(3)): "READY=1", "WATCHDOG=1", … Nothing where nobody asked for it. */
void notify_supervisor(const char *state);

#endif
