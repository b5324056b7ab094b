CREATE COLLATION public.unicode_text (provider = builtin, locale = 'PG_UNICODE_FAST');

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE FUNCTION public.keep_account_emails() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF tg_op = 'INSERT' AND new.email_key IS NOT NULL THEN
        INSERT INTO account_emails (email_key, user_id) VALUES (new.email_key, new.id) ON CONFLICT DO NOTHING;
    ELSIF tg_op = 'DELETE' THEN
        DELETE FROM account_emails WHERE email_key = old.email_key AND user_id = old.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TABLE public.account_emails (
    email_key text NOT NULL,
    user_id text NOT NULL
);

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    action text NOT NULL,
    actor_id text NOT NULL,
    subject_id text NOT NULL,
    request_id text NOT NULL,
    detail text NOT NULL,
    address text,
    sequence bigint,
    seal bytea
);

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.ended_sessions (
    user_id text NOT NULL,
    session_id uuid NOT NULL,
    ended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.idempotency_keys (
    user_id text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    status smallint,
    headers json,
    body bytea
);

CREATE TABLE public.one_time_tokens (
    user_id text NOT NULL,
    token_hash bytea NOT NULL,
    purpose text NOT NULL,
    basis bytea NOT NULL,
    new_email text,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT one_time_tokens_hash_length CHECK ((octet_length(token_hash) = 32)),
    CONSTRAINT one_time_tokens_purpose_known CHECK ((purpose = ANY (ARRAY['password'::text, 'email'::text])))
);

CREATE TABLE public.personal_tokens (
    user_id text NOT NULL,
    id uuid NOT NULL,
    token_hash bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    is_strict boolean NOT NULL,
    last_four text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    CONSTRAINT personal_tokens_hash_length CHECK ((octet_length(token_hash) = 32)),
    CONSTRAINT personal_tokens_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255)))
);

CREATE TABLE public.refresh_tokens (
    token_hash bytea NOT NULL,
    user_id text NOT NULL,
    family_id uuid NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    user_agent text,
    CONSTRAINT refresh_tokens_hash_length CHECK ((octet_length(token_hash) = 32))
);

CREATE TABLE public.task_changes (
    user_id text NOT NULL,
    version bigint NOT NULL,
    task_id uuid NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    operation text DEFAULT 'delete'::text NOT NULL,
    deletes boolean DEFAULT true NOT NULL,
    actor_id text,
    source text,
    request_id text,
    previous bigint,
    title text,
    description text,
    status text,
    priority text,
    due_at timestamp with time zone,
    due_on date,
    tags text[],
    created_at timestamp with time zone,
    updated_at timestamp with time zone,
    completed_at timestamp with time zone,
    CONSTRAINT task_changes_operation_known CHECK ((operation = ANY (ARRAY['create'::text, 'update'::text, 'complete'::text, 'delete'::text, 'import'::text, 'restore'::text, 'undo'::text])))
);

CREATE TABLE public.task_clocks (
    user_id text NOT NULL,
    version bigint DEFAULT 0 NOT NULL,
    task_count bigint DEFAULT 0 NOT NULL,
    epoch bigint DEFAULT (floor((random() * ((2)::double precision ^ (53)::double precision))))::bigint NOT NULL,
    sync_floor bigint DEFAULT 0 NOT NULL,
    CONSTRAINT task_clocks_count_positive CHECK ((task_count >= 0))
)
WITH (fillfactor='50');

CREATE VIEW public.task_tombstones AS
 SELECT user_id,
    version,
    task_id AS id,
    changed_at AS deleted_at
   FROM public.task_changes
  WHERE deletes;

CREATE TABLE public.tasks (
    user_id text NOT NULL,
    id uuid NOT NULL,
    title text NOT NULL,
    description text,
    status text NOT NULL,
    priority text NOT NULL,
    due_at timestamp with time zone,
    due_on date,
    tags text[] NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    version bigint NOT NULL,
    CONSTRAINT tasks_completed_at_agrees CHECK (((status = 'COMPLETED'::text) = (completed_at IS NOT NULL))),
    CONSTRAINT tasks_description_length CHECK ((char_length(description) <= 5000)),
    CONSTRAINT tasks_due_at_range CHECK (((due_at >= '1970-01-01 00:00:00+00'::timestamp with time zone) AND (due_at < '9999-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT tasks_due_on_range CHECK (((due_on >= '1970-01-01'::date) AND (due_on < '9999-01-01'::date))),
    CONSTRAINT tasks_due_once CHECK ((num_nonnulls(due_at, due_on) <= 1)),
    CONSTRAINT tasks_priority_known CHECK ((priority = ANY (ARRAY['URGENT'::text, 'HIGH'::text, 'MEDIUM'::text, 'LOW'::text]))),
    CONSTRAINT tasks_status_known CHECK ((status = ANY (ARRAY['TODO'::text, 'IN_PROGRESS'::text, 'COMPLETED'::text]))),
    CONSTRAINT tasks_tags_count CHECK ((cardinality(tags) <= 20)),
    CONSTRAINT tasks_title_length CHECK (((char_length(title) >= 1) AND (char_length(title) <= 255)))
);

CREATE TABLE public.token_epochs (
    id boolean DEFAULT true NOT NULL,
    epoch bigint NOT NULL,
    CONSTRAINT token_epochs_single CHECK (id)
);

CREATE TABLE public.user_api_keys (
    user_id text NOT NULL,
    provider text NOT NULL,
    ciphertext text NOT NULL,
    validation_status text NOT NULL,
    last_validated_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT user_api_keys_status_known CHECK ((validation_status = ANY (ARRAY['valid'::text, 'quota_exceeded'::text])))
);

CREATE TABLE public.user_sessions (
    id text NOT NULL,
    token text NOT NULL,
    "userId" text NOT NULL,
    "expiresAt" timestamp with time zone NOT NULL
);

COMMENT ON TABLE public.user_sessions IS 'made by todo-service';

CREATE TABLE public.users (
    id text NOT NULL,
    email text,
    email_key text,
    password_hash text,
    full_name text,
    role text DEFAULT 'user'::text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    email_verified boolean DEFAULT false NOT NULL,
    CONSTRAINT users_full_name_length CHECK ((char_length(full_name) <= 255)),
    CONSTRAINT users_id_length CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255))),
    CONSTRAINT users_password_account CHECK (((email_key IS NULL) = (password_hash IS NULL))),
    CONSTRAINT users_role_known CHECK ((role = ANY (ARRAY['user'::text, 'admin'::text])))
);

ALTER TABLE ONLY public.account_emails
    ADD CONSTRAINT account_emails_pkey PRIMARY KEY (email_key);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ended_sessions
    ADD CONSTRAINT ended_sessions_pkey PRIMARY KEY (user_id, session_id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key);

ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_pkey PRIMARY KEY (user_id, token_hash);

ALTER TABLE ONLY public.personal_tokens
    ADD CONSTRAINT personal_tokens_pkey PRIMARY KEY (user_id, id);

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash, user_id);

ALTER TABLE ONLY public.task_changes
    ADD CONSTRAINT task_changes_pkey PRIMARY KEY (user_id, version);

ALTER TABLE ONLY public.task_clocks
    ADD CONSTRAINT task_clocks_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id, user_id);

ALTER TABLE ONLY public.token_epochs
    ADD CONSTRAINT token_epochs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.user_api_keys
    ADD CONSTRAINT user_api_keys_pkey PRIMARY KEY (user_id, provider);

ALTER TABLE ONLY public.user_sessions
    ADD CONSTRAINT user_sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.user_sessions
    ADD CONSTRAINT user_sessions_token_unique UNIQUE (token);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_email_key_unique UNIQUE (email_key);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX audit_log_action ON public.audit_log USING btree (action, id);

CREATE INDEX audit_log_actor ON public.audit_log USING btree (actor_id, id);

CREATE INDEX audit_log_chain ON public.audit_log USING btree (sequence, id);

CREATE INDEX audit_log_deleted ON public.audit_log USING btree (at) WHERE (action = 'account_deleted'::text);

CREATE INDEX audit_log_subject ON public.audit_log USING btree (subject_id, id);

CREATE INDEX ended_sessions_ended ON public.ended_sessions USING btree (ended_at);

CREATE INDEX idempotency_keys_created ON public.idempotency_keys USING btree (created_at);

CREATE INDEX one_time_tokens_expires ON public.one_time_tokens USING btree (expires_at);

CREATE INDEX one_time_tokens_hash ON public.one_time_tokens USING btree (token_hash);

CREATE INDEX personal_tokens_expires ON public.personal_tokens USING btree (expires_at);

CREATE INDEX personal_tokens_hash ON public.personal_tokens USING btree (token_hash);

CREATE INDEX refresh_tokens_expires ON public.refresh_tokens USING btree (expires_at);

CREATE INDEX refresh_tokens_user_family ON public.refresh_tokens USING btree (user_id, family_id);

CREATE INDEX task_changes_changed ON public.task_changes USING btree (changed_at);

CREATE INDEX task_changes_deleted_tasks ON public.task_changes USING btree (user_id, task_id, version) WHERE deletes;

CREATE INDEX task_changes_deletions ON public.task_changes USING btree (user_id, version) WHERE deletes;

CREATE INDEX tasks_moment ON public.tasks USING btree (created_at);

CREATE INDEX tasks_user_created ON public.tasks USING btree (user_id, created_at, id);

CREATE INDEX tasks_user_version ON public.tasks USING btree (user_id, version);

CREATE INDEX users_admins ON public.users USING btree (created_at, id) WHERE (role = 'admin'::text);

CREATE INDEX users_created ON public.users USING btree (created_at, id);

CREATE INDEX users_inactive ON public.users USING btree (created_at, id) WHERE (NOT is_active);

CREATE INDEX users_revoked ON public.users USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);

CREATE INDEX users_texts ON public.users USING gin ((
CASE
    WHEN (octet_length(email) = length(email)) THEN (upper((email COLLATE "C")) COLLATE "C")
    ELSE (upper(lower((
    CASE
        WHEN (email IS NFC NORMALIZED) THEN email
        ELSE NORMALIZE(email, NFC)
    END COLLATE public.unicode_text))) COLLATE "C")
END) public.gin_trgm_ops, (
CASE
    WHEN (octet_length(full_name) = length(full_name)) THEN (upper((full_name COLLATE "C")) COLLATE "C")
    ELSE (upper(lower((
    CASE
        WHEN (full_name IS NFC NORMALIZED) THEN full_name
        ELSE NORMALIZE(full_name, NFC)
    END COLLATE public.unicode_text))) COLLATE "C")
END) public.gin_trgm_ops);

CREATE TRIGGER users_keep_account_emails AFTER INSERT OR DELETE ON public.users FOR EACH ROW EXECUTE FUNCTION public.keep_account_emails();

ALTER TABLE ONLY public.ended_sessions
    ADD CONSTRAINT ended_sessions_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.one_time_tokens
    ADD CONSTRAINT one_time_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.personal_tokens
    ADD CONSTRAINT personal_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.refresh_tokens
    ADD CONSTRAINT refresh_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.task_changes
    ADD CONSTRAINT task_changes_clock_fkey FOREIGN KEY (user_id) REFERENCES public.task_clocks(user_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.task_clocks
    ADD CONSTRAINT task_clocks_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_clock_fkey FOREIGN KEY (user_id) REFERENCES public.task_clocks(user_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.user_api_keys
    ADD CONSTRAINT user_api_keys_user_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
