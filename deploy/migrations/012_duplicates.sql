-- A repeated command stores no receipt of its own: how many a service has answered is counted here, for the metrics.

SET ROLE sauro_app;

ALTER TABLE read.followers ADD COLUMN duplicates bigint NOT NULL DEFAULT 0;

RESET ROLE;
