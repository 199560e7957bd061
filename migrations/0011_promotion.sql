-- What a model predicts for the test images of a job, in the order of the job's manifest: computed when two
-- models are compared. One JSON array of objects; null: the image is no longer stored.
CREATE TABLE test_predictions (
    job_id      TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    model_id    TEXT NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    predictions TEXT NOT NULL,
    PRIMARY KEY (job_id, model_id)
) STRICT;

CREATE INDEX test_predictions_by_model ON test_predictions (model_id);

-- Names for models that can be moved from one to another. A model with an alias can't be deleted; that the
-- built-in one is replaced by another version's is checked at the end of the transaction.
CREATE TABLE aliases (
    name       TEXT NOT NULL PRIMARY KEY,
    model_id   TEXT NOT NULL REFERENCES models (id) DEFERRABLE INITIALLY DEFERRED,
    updated_at TEXT NOT NULL
) STRICT;

CREATE INDEX aliases_by_model ON aliases (model_id);

-- Every change of the model in service and of the aliases. The models are kept with their names: they may be
-- deleted later.
CREATE TABLE model_history (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at         TEXT    NOT NULL,
    event      TEXT    NOT NULL CHECK (event IN
                   ('selected', 'pinned', 'unpinned', 'rolled_back', 'alias_set', 'alias_removed')),
    alias      TEXT,                    -- NULL: the model in service
    from_model TEXT,                    -- JSON
    to_model   TEXT,                    -- JSON
    by         TEXT    NOT NULL         -- JSON
) STRICT;

CREATE INDEX model_history_by_alias ON model_history (alias, id);
