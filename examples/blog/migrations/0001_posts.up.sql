CREATE TABLE posts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    author text NOT NULL,
    likes integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX posts_tags ON posts USING gin (tags);

CREATE TABLE followers (
    author text NOT NULL,
    email text NOT NULL,
    PRIMARY KEY (author, email)
);
