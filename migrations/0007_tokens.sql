-- API tokens that were created while the server runs. Those of the settings are not stored.
CREATE TABLE tokens (
    id           TEXT NOT NULL PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    sha256       TEXT NOT NULL UNIQUE,  -- of the token, which itself is not stored
    scopes       TEXT NOT NULL,         -- JSON array
    created_at   TEXT NOT NULL,
    last_used_at TEXT                   -- at most a minute before the last use
) STRICT;
