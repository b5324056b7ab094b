-- Why: cursors of delta sync: `epoch` tells whose history a cursor is of, `sync_floor` from where deletions are still known.
-- Safe while the old code serves: yes; the table is rewritten, and writes wait meanwhile.
ALTER TABLE task_clocks
    -- drawn anew for each row, and for all rows when a backup was restored: a history that was lost cannot be gone on with
    ADD COLUMN epoch      bigint NOT NULL DEFAULT floor(random() * 2 ^ 53)::bigint,
    -- tombstones up to this version may be gone
    ADD COLUMN sync_floor bigint NOT NULL DEFAULT 0;
-- what was deleted before there were tombstones is not known
UPDATE task_clocks SET sync_floor = version;
