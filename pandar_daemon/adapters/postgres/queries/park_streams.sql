INSERT INTO parked (model, generation, stream, position, error)
SELECT $1, $2, p.stream, p.position, p.error
FROM unnest($3::text[], $4::bigint[], $5::text[]) AS p (stream, position, error)
