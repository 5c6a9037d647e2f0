SELECT m.model, m.generation, m.version, m.position, m.live
FROM read_models m
WHERE m.model = $1 AND m.version = $2
    AND m.generation > coalesce(
        (SELECT l.generation FROM read_models l WHERE l.model = $1 AND l.live), 0
    )
ORDER BY m.generation DESC
LIMIT 1
