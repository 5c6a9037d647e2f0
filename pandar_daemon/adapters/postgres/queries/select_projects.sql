SELECT projects.*
FROM views.projects
WHERE $1::bigint[] IS NULL OR id = ANY ($1)
ORDER BY id
