-- The log as queries name it: `log_events`, in each schema that a search path may lead to. So a query over the log reads the
-- present, what was known at a moment, or what was true at it, as one over read models does.
--
-- id, cause and occurred_at stand in an event's envelope, before its data: they are found there without parsing, and only
-- when a query asks for them.

SET ROLE sauro_app;

CREATE SCHEMA IF NOT EXISTS read_recorded;
CREATE SCHEMA IF NOT EXISTS read_occurred;

CREATE VIEW read.log_events AS
SELECT notification_id, originator_id, originator_version, topic, recorded_at, state,
    split_part(convert_from(substring(state FROM position('"id":"'::bytea IN state) + 6 FOR 101), 'LATIN1'), '"', 1) AS id,
    split_part(convert_from(substring(state FROM position('"causationid":"'::bytea IN state) + 15 FOR 101), 'LATIN1'), '"', 1)
        AS cause,
    split_part(convert_from(substring(state FROM position('"time":"'::bytea IN state) + 8 FOR 30), 'LATIN1'), '"', 1)::timestamptz
        AS occurred_at
FROM log.events;

CREATE VIEW read_recorded.log_events AS
SELECT * FROM read.log_events WHERE notification_id <= (SELECT current_setting('sauro.position')::bigint);

-- What is said to have occurred before its stream began counts from then.
CREATE VIEW read_occurred.log_events AS
SELECT * FROM read.log_events e WHERE occurred_at <= (SELECT current_setting('sauro.instant')::timestamptz)
    AND (originator_version = 1 OR EXISTS (SELECT FROM read.log_events first WHERE first.originator_id = e.originator_id
        AND first.originator_version = 1 AND first.occurred_at <= (SELECT current_setting('sauro.instant')::timestamptz)));

RESET ROLE;
