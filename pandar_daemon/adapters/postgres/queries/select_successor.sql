SELECT model, generation, version, position, live FROM read_models
WHERE model = $1 AND version >= $2 AND generation > $3
ORDER BY generation DESC
LIMIT 1
