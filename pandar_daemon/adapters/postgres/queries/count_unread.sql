-- Counted up to a limit: who has more to read need not know how many.
SELECT count(*) FROM (
    SELECT FROM views.notifications n
    LEFT JOIN views.notification_readers r ON r.user_id = n.user_id
    WHERE n.user_id = $1 AND NOT n.is_read AND n.marked_at > coalesce(r.read_up_to, 0)
    LIMIT $2
) AS unread
