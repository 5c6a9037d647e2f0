"""Others who run tasks from a Postgres, measured beside Pandar on the same one."""
