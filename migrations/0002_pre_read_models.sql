-- Read models: each generation has its own schema rm_<model>_<generation>, made by the daemon;
-- schema views shows the tables of the generations being served.
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

-- The daemon may make schemas for generations, and no others. (A right on the database itself would
-- be lost when the database is copied.)
CREATE FUNCTION create_generation(schema_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF schema_name !~ '^rm_[a-z][a-z_]*_[0-9]+$' THEN
        RAISE EXCEPTION 'not the schema of a generation: %', schema_name;
    END IF;
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION pandar_app', schema_name);
END $$;
REVOKE ALL ON FUNCTION create_generation FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_generation TO pandar_app;

CREATE SCHEMA views;
GRANT USAGE, CREATE ON SCHEMA views TO pandar_app;

-- One row a generation. Its position moves in the transaction that applies what it stands for.
CREATE TABLE read_models (
    model      text        NOT NULL,
    generation integer     NOT NULL,
    version    integer     NOT NULL,
    position   bigint      NOT NULL DEFAULT 0,
    live       boolean     NOT NULL DEFAULT false,
    begun_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX read_models_live ON read_models (model) WHERE live;

-- Streams a generation gave up, at the first event it could not take.
CREATE TABLE parked (
    model      text        NOT NULL,
    generation integer     NOT NULL,
    stream     text        NOT NULL,
    position   bigint      NOT NULL,
    error      text        NOT NULL,
    skipped    bigint      NOT NULL DEFAULT 0,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, generation, stream),
    FOREIGN KEY (model, generation) REFERENCES read_models ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON read_models, parked TO pandar_app;
