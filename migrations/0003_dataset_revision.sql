-- Raised by each change of a dataset's images: a version that was computed meanwhile is not kept.
ALTER TABLE datasets ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
