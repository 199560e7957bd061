-- Whether photos that arrive make the classes of a dataset. Earlier datasets keep those they have.
ALTER TABLE datasets ADD COLUMN open INTEGER NOT NULL DEFAULT 0 CHECK (open IN (0, 1));
