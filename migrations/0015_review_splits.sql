-- The split that an image was in when a person decided on it: a dismissed group of near-duplicates is shown
-- again once its images are moved to different splits. NULL: it had none, or the decision is older.
ALTER TABLE review_decisions ADD COLUMN split TEXT CHECK (split IN ('train', 'validation', 'test'));
