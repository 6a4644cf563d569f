-- Proof: what the audit follower made of the two logs, and what left the house. Insert-only, like the logs themselves.

CREATE SCHEMA audit;

-- Which public keys signed, as C2SP verifier keys; one row a key and log.
CREATE TABLE audit.keys (
    vkey  text        NOT NULL PRIMARY KEY,
    log   text        NOT NULL,
    since timestamptz NOT NULL
);

-- Full tiles only (256 hashes): partial ones follow from the log's end and from the roots of full ones.
CREATE TABLE audit.tiles (
    log    text     NOT NULL CHECK (log IN ('events', 'receipts')),
    level  smallint NOT NULL CHECK (level >= 0),
    index  bigint   NOT NULL CHECK (index >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (log, level, index)
);

-- Written in one transaction with the tiles they cover. One root a size: two would be a fork.
CREATE TABLE audit.checkpoints (
    log       text        NOT NULL CHECK (log IN ('events', 'receipts')),
    size      bigint      NOT NULL CHECK (size > 0),
    root      bytea       NOT NULL CHECK (octet_length(root) = 32),
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (log, size)
);

-- What left the house: numbered without gaps, with who asked and why (R-358).
CREATE TABLE audit.exports (
    number        bigint      NOT NULL PRIMARY KEY CHECK (number > 0),
    made_at       timestamptz NOT NULL,
    by_post       text        NOT NULL,
    reason        text        NOT NULL,
    scope         jsonb       NOT NULL,
    events_size   bigint      NOT NULL,
    receipts_size bigint      NOT NULL,
    manifest      bytea       NOT NULL  -- SHA-256 of the bundle's manifest
);

GRANT USAGE ON SCHEMA audit TO sauro_app;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA audit TO sauro_app;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['keys', 'tiles', 'checkpoints', 'exports'] LOOP
        EXECUTE format('CREATE TRIGGER immutable BEFORE UPDATE OR DELETE ON audit.%I FOR EACH STATEMENT'
            ' EXECUTE FUNCTION log.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER kept BEFORE TRUNCATE ON audit.%I FOR EACH STATEMENT'
            ' EXECUTE FUNCTION log.refuse_change()', name);
    END LOOP;
END
$$;
