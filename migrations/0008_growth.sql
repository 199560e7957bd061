-- Each page of a list is read from an index, without a look at rows that are not on it.
CREATE INDEX images_by_split ON images (dataset_id, split, id);
CREATE INDEX images_by_class ON images (dataset_id, label, id);
CREATE INDEX jobs_by_dataset ON jobs (dataset, id);
CREATE INDEX jobs_by_dataset_id ON jobs (dataset_id, id);
