-- Who is told when a job has ended, or another model goes into service.
CREATE TABLE webhooks (
    id         TEXT NOT NULL PRIMARY KEY,
    url        TEXT NOT NULL,
    events     TEXT NOT NULL,  -- JSON array
    secret     TEXT NOT NULL,  -- signs what is sent, so it is stored as it is
    created_at TEXT NOT NULL
) STRICT;

-- What is to be sent, written in the transaction of what happened, and what came of it.
CREATE TABLE webhook_deliveries (
    id              TEXT    NOT NULL PRIMARY KEY,
    webhook_id      TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event           TEXT    NOT NULL,
    body            TEXT    NOT NULL,  -- JSON, as it is signed
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT,              -- while it is pending
    last_attempt_at TEXT,
    response_status INTEGER,           -- of the last attempt, if there was a response
    seconds         REAL,              -- that the last attempt took
    error           TEXT,              -- why the last attempt failed
    created_at      TEXT    NOT NULL
) STRICT;

CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at)
    WHERE status = 'pending';
