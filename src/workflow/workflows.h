/* SPDX-License-Identifier: MIT
 *
 * The workflow functions, one file each. Only registry.c includes this.
 */
#ifndef OPENCLAW_WORKFLOW_WORKFLOWS_H
#define OPENCLAW_WORKFLOW_WORKFLOWS_H

#include "durable/workflow.h"

enum error route_agent_message(struct workflow *workflow);
enum error provision_agent(struct workflow *workflow);
enum error delayed_greeting(struct workflow *workflow);

#ifdef OPENCLAW_TEST_WORKFLOWS
enum error canonical_workflow(struct workflow *workflow);
enum error test_script(struct workflow *workflow);
#endif

#endif
