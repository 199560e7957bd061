-- When a model is unsure: below this probability of the predicted class, or above this distance to its
-- training images. Set from its file, then by a person. NULL: never, as for models older than this.
ALTER TABLE models ADD COLUMN answer_above REAL;
ALTER TABLE models ADD COLUMN unlike_above REAL;
