SELECT id, name, git_url, description, owner, created_at, updated_at, version, position
FROM views.projects
WHERE $1::bigint[] IS NULL OR id = ANY ($1)
ORDER BY id
