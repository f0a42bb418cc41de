CREATE TABLE sites (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url text NOT NULL UNIQUE,
    up boolean NOT NULL DEFAULT true, -- until a check says otherwise
    since timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE checks (
    site_id bigint NOT NULL REFERENCES sites ON DELETE CASCADE,
    at timestamptz NOT NULL,
    problem text,
    milliseconds real NOT NULL,
    PRIMARY KEY (site_id, at)
);
