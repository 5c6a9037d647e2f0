UPDATE parked SET skipped = parked.skipped + s.events
FROM unnest($3::text[], $4::bigint[]) AS s (stream, events)
WHERE parked.model = $1 AND parked.generation = $2 AND parked.stream = s.stream
