-- What the workflow that carried a message ended with, kept where that workflow was rewound (reply_keep).
alter table openclaw.inbox add column result text;
