-- Why: access tokens carry this epoch, and a restore draws a new one: no token of the lost time is valid afterwards.
-- Safe while the old code serves: yes, a new table. Tokens without an epoch are of epoch 0.
CREATE TABLE token_epochs (
    id    boolean NOT NULL DEFAULT true,
    epoch bigint  NOT NULL,
    CONSTRAINT token_epochs_pkey PRIMARY KEY (id),
    CONSTRAINT token_epochs_single CHECK (id)
);
INSERT INTO token_epochs (epoch) VALUES (0);
