INSERT INTO read_models (model, generation, version)
SELECT $1, coalesce(max(generation), 0) + 1, $2 FROM read_models WHERE model = $1
RETURNING model, generation, version, position, live
