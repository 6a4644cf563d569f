-- The log: the only truth. Stored bytes are published bytes are hashed bytes.
--
-- Column names are those of the eventsourcing library's recorder, so that it reads the table as its own:
-- originator_id is the stream, originator_version the version in it, topic the CloudEvents type, state the whole event as
-- published, notification_id the gapless position in commit order.

CREATE SCHEMA log;

CREATE TABLE log.events (
    notification_id    bigint      NOT NULL PRIMARY KEY CHECK (notification_id > 0),
    originator_id      text        NOT NULL,
    originator_version bigint      NOT NULL CHECK (originator_version > 0),
    topic              text        NOT NULL,
    recorded_at        timestamptz NOT NULL,
    state              bytea       NOT NULL,
    UNIQUE (originator_id, originator_version)
);

-- Receipts are a log of their own. A command's events lie at consecutive positions, so two numbers say which they are.
CREATE TABLE log.receipts (
    receipt        bigint      NOT NULL PRIMARY KEY CHECK (receipt > 0),
    source         text        NOT NULL,
    command_id     text        NOT NULL,
    outcome        smallint    NOT NULL CHECK (outcome IN (1, 2, 3)),  -- accepted, rejected, unreadable
    digest         bytea       NOT NULL,                              -- SHA-256 of the command's canonical JSON
    recorded_at    timestamptz NOT NULL,
    first_position bigint,
    event_count    integer     NOT NULL,
    version        bigint,
    refusal        jsonb,
    UNIQUE (source, command_id)
);

-- Texts that may name people, with the salt of their hash in the log. Erasing a row leaves the log whole (R-359).
CREATE TABLE log.texts (
    ref    uuid  NOT NULL PRIMARY KEY,
    salt   bytea NOT NULL,
    words  text  NOT NULL
);

CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is immutable: % on %.% is refused; record a compensating event instead',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log.events FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log.events FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON log.receipts FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER kept BEFORE TRUNCATE ON log.receipts FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
