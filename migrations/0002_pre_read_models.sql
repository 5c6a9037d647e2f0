-- Read models: each generation has its own schema rm_<model>_<generation>, made by the daemon;
-- schema views shows the tables of the generations being served.
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

DO $$
BEGIN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO pandar_app', current_database());
END $$;

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
