-- At which version was an agent of this name deleted? The next one of the name goes on from there.
create index audit_agent_deleted on openclaw.audit (subject)
  where act = 'agent.delete';
