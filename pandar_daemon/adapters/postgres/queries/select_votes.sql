SELECT confirmation_id, user_id, at, reason
FROM views.confirmation_votes
WHERE task_id = ANY ($1) AND confirmation_id = ANY ($2)
ORDER BY at, user_id
