DELETE FROM read_models WHERE model = $1 AND generation = $2 AND NOT live
RETURNING generation
