SELECT grant_id, project_id, gates::text AS gates, pattern, by, reason, created_at, expires_at,
    uses_max, uses, used_at, revoked_by, revoked_at, confirmation_id,
    CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN expires_at <= $3 THEN 'expired'
        WHEN uses >= uses_max THEN 'exhausted'
        ELSE 'active'
    END AS status
FROM views.grants
WHERE ($1::bigint IS NULL OR project_id = $1) AND ($2::text IS NULL OR grant_id = $2)
ORDER BY created_at DESC, grant_id
LIMIT 1000
