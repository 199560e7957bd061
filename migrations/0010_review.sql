-- Images without a label: apart from `images`, so that nothing that learns, counts or evaluates sees them.
-- One that gets a label moves to `images` and keeps its id.
CREATE TABLE unlabelled_images (
    id          TEXT    NOT NULL PRIMARY KEY,
    dataset_id  TEXT    NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    sha256      TEXT    NOT NULL,
    file_name   TEXT    NOT NULL,
    media_type  TEXT    NOT NULL,
    width       INTEGER NOT NULL,       -- pixels, upright
    height      INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    created_at  TEXT    NOT NULL,
    UNIQUE (dataset_id, sha256)
) STRICT;

CREATE INDEX unlabelled_by_age ON unlabelled_images (dataset_id, id);
CREATE INDEX unlabelled_by_content ON unlabelled_images (sha256);

-- What a person said about an image in a list of a review. It counts as long as the image has that label.
CREATE TABLE review_decisions (
    dataset_id TEXT NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
    sha256     TEXT NOT NULL,
    list       TEXT NOT NULL CHECK (list IN ('mislabelled', 'duplicates', 'outliers')),
    label      TEXT,                    -- name of the image's class; NULL: it had none
    decision   TEXT NOT NULL CHECK (decision IN ('confirmed', 'dismissed')),
    created_at TEXT NOT NULL,
    PRIMARY KEY (dataset_id, sha256, list)
) STRICT, WITHOUT ROWID;
