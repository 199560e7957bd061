-- The challenger that answers requests beside the model in service, unseen, and how often both agree. One row,
-- or none.
CREATE TABLE shadow (
    id           INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    model_id     TEXT    NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    cpu_fraction REAL    NOT NULL,
    started_at   TEXT    NOT NULL,
    images       INTEGER NOT NULL DEFAULT 0,
    agreed       INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    dropped      INTEGER NOT NULL DEFAULT 0,    -- requests
    cpu_seconds  REAL    NOT NULL DEFAULT 0
) STRICT;

-- The last images for which the challenger predicted another class.
CREATE TABLE shadow_differences (
    id                 INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at                 TEXT    NOT NULL,
    sha256             TEXT    NOT NULL,        -- of the encoded image, which itself is not stored
    model_id           TEXT    NOT NULL,        -- the model in service
    model              TEXT    NOT NULL,        -- its name
    label              TEXT    NOT NULL,
    probability        REAL    NOT NULL,
    shadow_label       TEXT    NOT NULL,
    shadow_probability REAL    NOT NULL
) STRICT;
