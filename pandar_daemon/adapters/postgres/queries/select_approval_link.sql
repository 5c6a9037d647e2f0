SELECT l.task_id, c.project_id, l.confirmation_id, l.approver
FROM views.approval_links l
JOIN views.confirmations c ON c.task_id = l.task_id AND c.id = l.confirmation_id
WHERE l.token_sha256 = $1
