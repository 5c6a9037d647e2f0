UPDATE read_models SET live = true WHERE model = $1 AND generation = $2
