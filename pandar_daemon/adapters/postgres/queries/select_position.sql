SELECT CASE WHEN count(*) < $1 THEN 0 ELSE min(position) END FROM read_models WHERE live
