-- What followers keep. All of it can be thrown away and rebuilt from the log.

SET ROLE sauro_app;

-- Positions, in the form of the eventsourcing library's tracking recorder.
CREATE TABLE read.positions (
    application_name text   NOT NULL PRIMARY KEY,
    notification_id  bigint NOT NULL
);

CREATE TABLE read.snapshots (
    stream      text   NOT NULL PRIMARY KEY,
    version     bigint NOT NULL,
    fingerprint text   NOT NULL,
    began_at    timestamptz NOT NULL,
    state       bytea  NOT NULL
);

-- Events a read model could not apply: never skipped silently.
CREATE TABLE read.quarantine (
    model       text        NOT NULL,
    position    bigint      NOT NULL,
    stream      text        NOT NULL,
    error       text        NOT NULL,
    since       timestamptz NOT NULL,
    PRIMARY KEY (model, position)
);

-- What each service last said of itself: a follower never fails silently.
CREATE TABLE read.followers (
    name          text        NOT NULL PRIMARY KEY,
    beat_at       timestamptz NOT NULL,
    position      bigint,
    last_error    text,
    last_error_at timestamptz
);

RESET ROLE;
