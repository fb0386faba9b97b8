-- Has this request been carried out? Asked by who sends it again, having lost the answer.
create index audit_request on openclaw.audit ((detail ->> 'request'))
  where detail ? 'request';
