/* SPDX-License-Identifier: MIT */
#include "workflow/registry.h"

#include <stddef.h>

#include "workflow/workflows.h"

const struct workflow_definition workflow_definitions[] = {
    {"routeAgentMessage", route_agent_message,
     "carries a message to an agent's inbox, and ends when it is settled", true},
    {"provisionAgent", provision_agent, "makes an agent and its mailbox", false},
    {"delayedGreeting", delayed_greeting, "the README's example: greets an agent after a while",
     true},
#ifdef OPENCLAW_TEST_WORKFLOWS
    {"canonicalWorkflow", canonical_workflow, "only for tests: the SDKs' own", false},
    {"testScript", test_script, "only for tests: does what its input says", true},
#endif
    {NULL, NULL, NULL, false},
};

const struct workflow_definition *const workflow_route_agent_message = &workflow_definitions[0];
const struct workflow_definition *const workflow_provision_agent = &workflow_definitions[1];
