-- Something is to be sent of these, now or later: those due first.
SELECT id FROM (
    SELECT d.notification_id AS id, d.due_at AS at
    FROM views.deliveries d
    JOIN views.notifications n ON n.id = d.notification_id
    WHERE d.status = 'pending' AND n.decided_at IS NULL
    UNION ALL
    SELECT id, remind_at FROM views.notifications WHERE remind_at IS NOT NULL
) AS open
GROUP BY id
ORDER BY min(at)
LIMIT $1
