-- Trainers on other machines: each attempt at a job has an id and a token of its own. An attempt that has
-- ended can report nothing more, so that an older one that comes back to life changes nothing.
CREATE TABLE attempts (
    id            TEXT    NOT NULL PRIMARY KEY,
    job_id        TEXT    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    compared      TEXT,                       -- the model that it evaluates, if it doesn't train
    executor      TEXT    NOT NULL,
    token_sha256  TEXT    NOT NULL,           -- of the token, which itself is not stored
    external_id   TEXT,                       -- the cluster's id, once submitted
    url           TEXT,                       -- its page on the cluster's dashboard
    node          TEXT,                       -- once its trainer has reported
    message       TEXT,                       -- what it waits for
    next_sequence INTEGER NOT NULL DEFAULT 0, -- events before it are saved
    log_bytes     INTEGER NOT NULL DEFAULT 0, -- of its log that are saved
    last_event    TEXT,                       -- JSON: how it ended, as reported
    created_at    TEXT    NOT NULL,
    ended_at      TEXT
) STRICT;

CREATE INDEX attempts_by_job ON attempts (job_id, id);
