CREATE TABLE customers (id int PRIMARY KEY, name text, region text, country text, tags text[], attributes jsonb,
    "update" text, delete_flag boolean, updated_at timestamptz, created_at timestamp, "Mixed Case" int);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric(10,2), status text, region text, note text,
    created_at timestamptz, shipped_on date, during tstzrange, doc tsvector, ip inet, payload bytea);
CREATE TABLE items (order_id int, sku text, quantity int, price float8, PRIMARY KEY (order_id, sku));
CREATE TYPE mood AS ENUM ('sad', 'happy');
INSERT INTO customers SELECT i, 'name ' || i, (ARRAY['EU', 'US', NULL])[1 + i % 3], 'DE', ARRAY['vip', 'x' || i],
    jsonb_build_object('tier', 'gold', 'n', i, 'list', jsonb_build_array(1, i)), 'u', i % 2 = 0,
    timestamptz '2026-01-01' + i * interval '1 day', timestamp '2025-01-01' + i * interval '1 hour', i FROM generate_series(1, 20) i;
INSERT INTO orders SELECT i, 1 + i % 20, i * 1.5, (ARRAY['paid', 'open', 'shipped'])[1 + i % 3], 'EU', nullif('note ' || i, 'note 7'),
    timestamptz '2026-02-01' + i * interval '6 hours', date '2026-02-01' + i, tstzrange('2026-01-01', '2026-01-02'),
    to_tsvector('english', 'quick brown fox ' || i), '10.0.0.1', '\xdeadbeef' FROM generate_series(1, 40) i;
INSERT INTO items SELECT 1 + i % 40, 'sku' || i, i % 5, i * 0.25 FROM generate_series(1, 60) i;
