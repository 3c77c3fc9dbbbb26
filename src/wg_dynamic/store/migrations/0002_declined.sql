-- A declined lease has ended, and its ends_at says until when nobody gets the address.
ALTER TABLE leases ADD COLUMN declined INTEGER NOT NULL DEFAULT 0 CHECK (declined IN (0, 1));
