-- Leases and memories. Times are seconds.

-- The last commit of each boot, by both clocks; the latest boot has the highest id.
CREATE TABLE boots (
    id INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL UNIQUE,
    now REAL NOT NULL,
    wall REAL NOT NULL
) STRICT;

-- ends_at counts by the CLOCK_BOOTTIME of its boot.
CREATE TABLE leases (
    address BLOB PRIMARY KEY CHECK (length(address) IN (4, 16)),
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    lease_time REAL NOT NULL,
    ends_at REAL NOT NULL,
    boot INTEGER NOT NULL REFERENCES boots (id),
    ended INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT, WITHOUT ROWID;
