-- The ledger, format 1. Rows of `transitions` are only ever added: they are the truth. The columns of `runs` from
-- `state` on are what they fold to, kept in the same transaction so that a list needs no fold.
CREATE TABLE events (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    key  TEXT NOT NULL UNIQUE,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    trigger       TEXT NOT NULL,
    coalesce_key  TEXT,
    "commit"      TEXT NOT NULL,
    tree          TEXT,
    role          TEXT NOT NULL,
    job           TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    state         TEXT NOT NULL,
    reason        TEXT NOT NULL DEFAULT '',
    attempt       INTEGER NOT NULL DEFAULT 0,
    token         INTEGER NOT NULL DEFAULT 0,
    not_before    INTEGER,
    cancel        TEXT,
    started_at    INTEGER,
    finished_at   INTEGER,
    input_tokens  INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    artifacts     TEXT NOT NULL DEFAULT '[]',
    rehearsal     INTEGER NOT NULL DEFAULT 0,
    favourable    INTEGER
) STRICT;
CREATE INDEX runs_by_state ON runs (state, seq);
CREATE INDEX runs_by_coalescing ON runs (coalesce_key, state);
CREATE INDEX runs_by_commit ON runs ("commit", trigger);
CREATE INDEX runs_by_tree ON runs (tree, role);
CREATE INDEX runs_by_start ON runs (started_at);

-- The events that became one run.
CREATE TABLE run_events (
    run   TEXT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, event)
) STRICT, WITHOUT ROWID;

CREATE TABLE transitions (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    run       TEXT NOT NULL,
    at        INTEGER NOT NULL,
    happening TEXT,
    state     TEXT NOT NULL,
    reason    TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_by_run ON transitions (run, seq);

CREATE TABLE steps (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    run     TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    file    TEXT,
    digest  TEXT,
    note    TEXT NOT NULL
) STRICT;
CREATE INDEX steps_by_run ON steps (run, seq);

-- What persons decided about a tree; the newest row of a tree counts.
CREATE TABLE verdicts (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    tree     TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    approved INTEGER NOT NULL,
    who      TEXT NOT NULL,
    why      TEXT NOT NULL,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX verdicts_by_tree ON verdicts (tree, seq);

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('token', '0');
