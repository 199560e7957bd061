-- The log of predictions, kept only where a setting asks for it. A model stays here as long as a prediction
-- of it does, even if it was deleted.
CREATE TABLE prediction_models (
    number     INTEGER NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    classes    TEXT    NOT NULL,        -- JSON array of names
    baseline   TEXT    NOT NULL         -- JSON: what its validation split says about new images
) STRICT;

CREATE TABLE predictions (
    number        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,   -- their order, whatever the clock did
    id            TEXT    NOT NULL UNIQUE,
    model         INTEGER NOT NULL REFERENCES prediction_models (number),
    created_at    INTEGER NOT NULL,     -- milliseconds since 1970
    sha256        TEXT    NOT NULL,     -- of the photo
    file_name     TEXT,
    label         TEXT    NOT NULL,     -- name of the predicted class
    probability   REAL    NOT NULL,
    probabilities BLOB,                 -- float32, little-endian, in the order of the classes; NULL: too many
    reason        TEXT CHECK (reason IN ('low_confidence', 'unlike_training')),     -- NULL: not unsure
    distance      REAL,                 -- to the training images; NULL: the model can't tell
    token         TEXT,                 -- name of the API token; NULL: none, or one of the settings
    decode_ms     REAL    NOT NULL,
    queue_ms      REAL    NOT NULL,
    inference_ms  REAL    NOT NULL,
    total_ms      REAL    NOT NULL,
    feedback      TEXT,                 -- name of the class that it should have been, or was
    feedback_by   TEXT,                 -- name of the API token; NULL: as for token
    feedback_at   INTEGER               -- milliseconds since 1970; NULL: no feedback
) STRICT;

-- Covers what is counted of a model over time.
CREATE INDEX predictions_of_model ON predictions (model, created_at, label, reason, distance);
CREATE INDEX predictions_feedback_of_model ON predictions (model, label, feedback, reason) WHERE feedback IS NOT NULL;
-- For lists: each ends with the number, their order.
CREATE INDEX predictions_by_model ON predictions (model);
CREATE INDEX predictions_by_label ON predictions (label);
CREATE INDEX predictions_by_token ON predictions (token) WHERE token IS NOT NULL;
CREATE INDEX predictions_unsure ON predictions (number) WHERE reason IS NOT NULL;
CREATE INDEX predictions_to_check ON predictions (number) WHERE reason IS NOT NULL AND feedback IS NULL;
CREATE INDEX predictions_with_feedback ON predictions (number) WHERE feedback IS NOT NULL;
CREATE INDEX predictions_contradicted ON predictions (number) WHERE feedback IS NOT NULL AND feedback <> label;
-- For what is deleted.
CREATE INDEX predictions_by_time ON predictions (created_at);
CREATE INDEX predictions_by_photo ON predictions (sha256);

-- The photos that are kept, each once however often it was sent.
CREATE TABLE prediction_photos (
    sha256 TEXT    NOT NULL PRIMARY KEY,
    bytes  INTEGER NOT NULL,
    number INTEGER NOT NULL             -- of the newest prediction of it
) STRICT, WITHOUT ROWID;

CREATE INDEX prediction_photos_by_age ON prediction_photos (number, bytes);
