/* SPDX-License-Identifier: MIT
 *
 * The table of workflows. Adding one is one file in this folder and one row in registry.def.
 */
#ifndef OPENCLAW_WORKFLOW_REGISTRY_H
#define OPENCLAW_WORKFLOW_REGISTRY_H

#include "durable/workflow.h"

extern const struct workflow_definition workflow_definitions[]; /* ends with a NULL name */

/* The rows by name, for the code that starts them. */
extern const struct workflow_definition *const workflow_route_agent_message;
extern const struct workflow_definition *const workflow_provision_agent;
extern const struct workflow_definition *const workflow_heartbeat;
extern const struct workflow_definition *const workflow_pause_resume;
extern const struct workflow_definition *const workflow_chat;

#endif
