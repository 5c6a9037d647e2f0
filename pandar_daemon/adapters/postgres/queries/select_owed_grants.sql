SELECT c.id, c.project_id, c.card -> 'gates' AS gates, c.gate, c.pattern, c.uses, c.until, c.decided_by
FROM views.confirmations c
WHERE c.scope = 'project' AND c.status = 'approved'
    AND NOT EXISTS (SELECT FROM views.grants g WHERE g.confirmation_id = c.id)
ORDER BY c.decided_at
LIMIT 100
