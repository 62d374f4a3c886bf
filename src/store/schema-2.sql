-- Format 2: what runs ask a person for, and what became of it. Both tables are only ever added to.
CREATE TABLE questions (
    run        TEXT NOT NULL,
    number     INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    action     TEXT NOT NULL,
    rule       TEXT NOT NULL,
    why        TEXT NOT NULL,
    said       TEXT NOT NULL,
    times      INTEGER NOT NULL,
    asked_at   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;

-- One answer for each question; a second one cannot be written.
CREATE TABLE answers (
    run        TEXT NOT NULL,
    number     INTEGER NOT NULL,
    allowed    INTEGER NOT NULL,
    who        TEXT NOT NULL,
    why        TEXT NOT NULL,
    at         INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (run, number),
    FOREIGN KEY (run, number) REFERENCES questions (run, number)
) STRICT, WITHOUT ROWID;

-- One use of each permission; a second one cannot be written.
CREATE TABLE uses (
    run        TEXT NOT NULL,
    number     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (run, number),
    FOREIGN KEY (run, number) REFERENCES answers (run, number)
) STRICT, WITHOUT ROWID;
