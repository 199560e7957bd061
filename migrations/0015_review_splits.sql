-- The split that an image was in when a person decided on it: a dismissed group of near-duplicates is listed
-- again if images that were in one split are in different ones now. NULL: the image was unlabelled or deleted.
ALTER TABLE review_decisions ADD COLUMN split TEXT CHECK (split IN ('train', 'validation', 'test'));

UPDATE review_decisions SET split = (
    SELECT split FROM images
    WHERE images.dataset_id = review_decisions.dataset_id AND images.sha256 = review_decisions.sha256
);
