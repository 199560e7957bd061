-- Whether a job's model went into service, and why: one JSON object, written once when the job ends.
-- Jobs that ended before this have none.
ALTER TABLE jobs ADD COLUMN service TEXT;

-- Which models automatic selection has put in service, as a number that rises with each of them: the
-- highest is in service. 0: decided, but not selected. NULL: the built-in model, and models that are
-- older than these decisions.
ALTER TABLE models ADD COLUMN selected INTEGER;
