CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'größte;', '');
CREATE TYPE pair AS (left_one int, "right one" text COLLATE "C");
CREATE TYPE floats AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE DOMAIN positive AS numeric(20, 5) DEFAULT 1 CONSTRAINT "above; zero" CHECK (VALUE > 0);
CREATE DOMAIN small_ones AS positive[] CHECK (cardinality(VALUE) < 5);
CREATE DOMAIN slot AS int4range CHECK (NOT isempty(VALUE));
CREATE TABLE numbers (i smallint, b bigint, n numeric, r real, d double precision, m money, p positive NOT NULL);
INSERT INTO numbers VALUES (-32768, 9223372036854775807, 'NaN', 'Infinity', '-0', '-12.34', 5), (0, -9223372036854775808, 1e-300, 1.1754944e-38, 5e-324, 0, 0.00001),
	(1, 1, 123456789012345678901234567890.123456789, 0.1, 0.1, 1, 99999), (NULL, NULL, '-Infinity', 'NaN', 1.7976931348623157e308, NULL, 3);
CREATE TABLE times (d date, t time, tz timetz, ts timestamp, tstz timestamptz, iv interval);
INSERT INTO times VALUES ('infinity', '24:00', '23:59:59.999999-15:59', '-infinity', 'infinity', '-178000000 years'), ('4713-01-01 BC', '00:00', '00:00+00', '294276-12-31 23:59:59.999999', '0001-01-01 BC', '1 mon -1 day 00:00:00.000001');
CREATE TABLE texts (c char(5), v varchar(10) COLLATE "C", t text, b bytea, bits bit(9), vb bit varying, x xml, j json, jb jsonb, u uuid, q tsquery, w tsvector);
INSERT INTO texts VALUES ('ab', E'\\.', E'\\.\n\\N\t\b\x01\r\n', '\x00ff5c2e0a', B'101010101', B'', '<a>é&amp;</a>', '{"a": 1, "a" :2 }', '{"b": [1e400, "\u00e9"]}', '00000000-0000-0000-0000-00000000000f', 'a & !b:*C', $$'it''s':1A 'c':2,3B$$),
	(NULL, '', '', '', NULL, NULL, NULL, '""', 'null', NULL, '', ''), ('', 'NULL', '\N', NULL, B'000000000', B'1', '', 'null', '[]', NULL, NULL, NULL);
CREATE TABLE nets (i inet, c cidr, m macaddr, m8 macaddr8, l pg_lsn, x xid8, tid tid, o oid, rc regclass, rt regtype, rp regprocedure);
INSERT INTO nets VALUES ('::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '16/B374D848', '42', '(1,2)', 4294967295, 'numbers', 'mood[]', 'pg_catalog.lower(text)');
CREATE TABLE shapes (p point, l line, s lseg, b box, h path, g polygon, c circle);
INSERT INTO shapes VALUES ('(1e300,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),1e-9>');
CREATE TABLE nested (m mood, ms mood[], p pair, ps pair[], f floats, fm floats_multirange, r tstzrange, rs int4multirange, so small_ones, sl slot, aa text[][], shifted int[]);
INSERT INTO nested VALUES ('', '{"it''s ok",""}', '(1,"a ""b"" \\ ,")', ARRAY[ROW(1, NULL)::pair, NULL], '[1.5,2.5)', '{[1,2),[3,)}', '(,infinity]', '{[1,3),[5,7)}', '{1,2}', '[1,5)', '{{a,NULL},{"NULL","\"{}"}}', '[-2:0]={1,2,3}'),
	(NULL, NULL, '(,)', '{}', 'empty', '{}', NULL, NULL, NULL, '(,)', '{}', NULL);
CREATE TABLE "no columns" (); INSERT INTO "no columns" DEFAULT VALUES; INSERT INTO "no columns" DEFAULT VALUES;
CREATE TABLE toasted (id int, v text COMPRESSION lz4, w text, x bytea); ALTER TABLE toasted ALTER w SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT i, repeat(md5(i::text), 5000), repeat('x', 3000000), decode(repeat('00ff', 300000), 'hex') FROM generate_series(1, 3) i;
ALTER TABLE numbers DROP COLUMN i; ALTER TABLE numbers ADD COLUMN late int NOT NULL DEFAULT 7;
