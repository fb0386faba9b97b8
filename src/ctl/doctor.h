/* SPDX-License-Identifier: MIT
 *
 * What the checks of gatewayctl doctor share.
 */
#ifndef OPENCLAW_CTL_DOCTOR_H
#define OPENCLAW_CTL_DOCTOR_H

#include "ctl/ctl.h"

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL, LEVEL_SKIP };

struct doctor {
    struct ctl *ctl;
    struct arena *arena;
    struct db *direct;
    struct document *checks;
    struct failure failure; /* of the call that failed last */
    enum error worst;       /* the first FAIL's error */
};

/* Runs a statement without parameters; false: doctor->failure says why not. */
bool doctor_rows(struct doctor *doctor, struct db *db, enum statement statement,
                 struct db_rows **ret_rows);
/* FAIL, and in *ret_detail what doctor->failure says. */
enum level doctor_failed(struct doctor *doctor, const char **ret_detail);

/* ---- doctor_more.c ----------------------------------------------------------------------------
 */

enum level doctor_locks(struct doctor *doctor, const char **ret_detail);
enum level doctor_transactions(struct doctor *doctor, const char **ret_detail);
enum level doctor_disk(struct doctor *doctor, const char **ret_detail);
enum level doctor_vacuum(struct doctor *doctor, const char **ret_detail);
enum level doctor_indexes(struct doctor *doctor, const char **ret_detail);
enum level doctor_websocketd(struct doctor *doctor, const char **ret_detail);
enum level doctor_schedules(struct doctor *doctor, const char **ret_detail);

/* Whether one that runs our sessions is seen on this host. */
bool websocketd_runs(struct doctor *doctor);

/* ---- doctor_relay.c ---------------------------------------------------------------------------
 */

enum level doctor_relay(struct doctor *doctor, const char **ret_detail);

#endif
