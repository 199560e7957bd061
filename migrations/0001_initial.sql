-- Ids are UUIDv7 and times RFC 3339 in UTC, both as text: they sort by age and read in any client.

CREATE TABLE datasets (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    classes    TEXT NOT NULL,           -- JSON array of names, in the order of their indices
    version    TEXT,                    -- cleared by every change of its images, computed when asked for
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE images (
    id          TEXT    NOT NULL PRIMARY KEY,
    dataset_id  TEXT    NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    sha256      TEXT    NOT NULL,       -- of the encoded bytes, which lie in the blob store
    file_name   TEXT    NOT NULL,
    label       INTEGER NOT NULL,       -- index into the dataset's classes
    split       TEXT    NOT NULL CHECK (split IN ('train', 'validation', 'test')),
    media_type  TEXT    NOT NULL,
    width       INTEGER NOT NULL,       -- pixels, upright
    height      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,       -- 64-bit difference hash: near-identical pictures share it
    created_at  TEXT    NOT NULL,
    UNIQUE (dataset_id, sha256)
) STRICT;

CREATE INDEX images_by_place ON images (dataset_id, split, label, id);
CREATE INDEX images_by_age ON images (dataset_id, id);
CREATE INDEX images_by_content ON images (sha256);

CREATE TABLE jobs (
    id                TEXT    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    recipe            TEXT    NOT NULL,
    dataset_id        TEXT    REFERENCES datasets (id) ON DELETE SET NULL,
    dataset           TEXT    NOT NULL, -- its name, kept when it is deleted
    dataset_version   TEXT    NOT NULL,
    params            TEXT    NOT NULL, -- JSON, resolved
    status            TEXT    NOT NULL CHECK (status IN
                          ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    requested         TEXT    CHECK (requested IN ('cancel', 'stop')),
    progress          TEXT,             -- JSON
    best_epoch        INTEGER,
    best_val_loss     REAL,
    best_val_accuracy REAL,
    device            TEXT,
    precision         TEXT,
    attempts          INTEGER NOT NULL DEFAULT 0,
    error_code        TEXT,
    error_detail      TEXT,
    model_id          TEXT,
    created_at        TEXT    NOT NULL,
    started_at        TEXT,
    finished_at       TEXT
) STRICT;

CREATE INDEX jobs_by_status ON jobs (status, id);

CREATE TABLE epochs (
    job_id            TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch             INTEGER NOT NULL,
    train_loss        REAL    NOT NULL,
    train_accuracy    REAL    NOT NULL,
    val_loss          REAL    NOT NULL,
    val_accuracy      REAL    NOT NULL,
    learning_rate     REAL    NOT NULL,
    seconds           REAL    NOT NULL,
    images_per_second REAL    NOT NULL,
    PRIMARY KEY (job_id, epoch)
) STRICT, WITHOUT ROWID;

-- What a watcher of a job must not miss: changes of status, epochs, the evaluation.
CREATE TABLE job_events (
    id     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    job_id TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind   TEXT    NOT NULL,
    epoch  INTEGER,                     -- of an 'epoch' event
    data   TEXT    NOT NULL             -- JSON
) STRICT;

CREATE INDEX job_events_by_job ON job_events (job_id, id);

CREATE TABLE models (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    recipe          TEXT    NOT NULL,
    architecture    TEXT    NOT NULL,
    classes         TEXT    NOT NULL,   -- JSON array of names
    job_id          TEXT    REFERENCES jobs (id) ON DELETE SET NULL,
    dataset         TEXT    NOT NULL,
    dataset_version TEXT    NOT NULL,
    val_loss        REAL    NOT NULL,
    val_accuracy    REAL    NOT NULL,
    test_accuracy   REAL,
    parameters      INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    created_at      TEXT    NOT NULL
) STRICT;

-- One row: the model that a person pinned, or none to follow the best.
CREATE TABLE serving (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    pinned_model_id TEXT    REFERENCES models (id) ON DELETE SET NULL
) STRICT;

INSERT INTO serving (id, pinned_model_id) VALUES (1, NULL);
