/* SPDX-License-Identifier: MIT */
#include "workflow/registry.h"

#include <stddef.h>

#include "workflow/workflows.h"

const struct workflow_definition workflow_definitions[] = {
#define WORKFLOW(name, function, summary, startable) {name, function, summary, startable},
#include "workflow/registry.def"
#undef WORKFLOW
    {NULL, NULL, NULL, false},
};

enum row {
#define WORKFLOW(name, function, summary, startable) ROW_##function,
#include "workflow/registry.def"
#undef WORKFLOW
};

const struct workflow_definition *const workflow_route_agent_message =
    &workflow_definitions[ROW_route_agent_message];
const struct workflow_definition *const workflow_provision_agent =
    &workflow_definitions[ROW_provision_agent];
const struct workflow_definition *const workflow_heartbeat = &workflow_definitions[ROW_heartbeat];
const struct workflow_definition *const workflow_pause_resume =
    &workflow_definitions[ROW_pause_resume];
const struct workflow_definition *const workflow_chat = &workflow_definitions[ROW_chat];
