SELECT d.notification_id, d.id, d.channel, d.origin, d.reminder, d.requested_at, d.due_at,
    CASE WHEN d.status = 'pending' AND n.decided_at IS NOT NULL THEN 'dropped' ELSE d.status END
        AS status,
    d.attempts, d.message_id, d.detail
FROM views.deliveries d
JOIN views.notifications n ON n.id = d.notification_id
WHERE d.notification_id = ANY ($1)
ORDER BY d.notification_id, d.requested_at, d.id
