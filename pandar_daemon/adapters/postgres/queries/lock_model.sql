SELECT pg_advisory_xact_lock(hashtextextended('pandar.read_model.' || $1, 0))
