-- How the best epoch of a job does on the test split: one JSON object, written once.
CREATE TABLE evaluations (
    job_id     TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    evaluation TEXT NOT NULL
) STRICT;
