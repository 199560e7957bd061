-- Whether photos that arrive make the classes of a dataset. Earlier datasets keep those they have.
ALTER TABLE datasets ADD COLUMN open INTEGER NOT NULL DEFAULT 0 CHECK (open IN (0, 1));

-- Whether the names of its classes count in a dataset's version: in those of open datasets, and of others
-- once their classes have changed.
ALTER TABLE datasets ADD COLUMN named_version INTEGER NOT NULL DEFAULT 0 CHECK (named_version IN (0, 1));
