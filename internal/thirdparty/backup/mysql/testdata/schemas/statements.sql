-- Statements of programs that name the database where only a few statements name a table.
CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(60), at DATETIME); INSERT INTO t VALUES (1, 'one', '2024-02-03'); CREATE TABLE u LIKE t; CREATE SEQUENCE s;
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n;
DELIMITER ;;
CREATE PROCEDURE many() BEGIN
  DECLARE r TYPE OF {db}.t.n; DECLARE c CURSOR (lo INT) FOR SELECT id FROM {db}.t WHERE id > lo;
  CREATE INDEX IF NOT EXISTS i ON {db}.t (n); DROP INDEX IF EXISTS i ON {db}.t; GRANT SELECT (n) ON {db}.t TO CURRENT_USER; REVOKE SELECT (n) ON TABLE {db}.t FROM CURRENT_USER; GRANT EXECUTE ON FUNCTION {db}.twice TO CURRENT_USER;
  SELECT {db}.t.*, {db}.twice(t.id), (SELECT {db}.twice(2)) FROM {db}.t NATURAL LEFT JOIN ({db}.u, {db}.t AS w) WHERE ({db}.t.id, 1) IN (SELECT q.id, 1 FROM {db}.u q) ORDER BY {db}.t.id;
  REPLACE {db}.t SET id = 9, n = (SELECT MAX({db}.u.n) FROM {db}.u USE INDEX (PRIMARY)); UPDATE LOW_PRIORITY {db}.t AS x JOIN {db}.u AS y ON x.id = y.id SET x.n = y.n; INSERT DELAYED {db}.u SELECT * FROM {db}.t; INSERT HIGH_PRIORITY IGNORE INTO {db}.u (id) VALUES (NEXTVAL({db}.s));
  DELETE {db}.t FROM {db}.t INNER JOIN {db}.u z ON z.id = {db}.t.id WHERE {db}.t.id < 0; DELETE QUICK FROM {db}.t WHERE id = 0; TRUNCATE {db}.u;
  ALTER TABLE {db}.t ADD COLUMN IF NOT EXISTS n VARCHAR(60), ADD CONSTRAINT FOREIGN KEY IF NOT EXISTS f (id) REFERENCES {db}.u (id); ALTER TABLE {db}.t DROP FOREIGN KEY IF EXISTS f; RENAME TABLE {db}.u TO {db}.v, {db}.v TO {db}.u;
  DROP TABLE IF EXISTS {db}.nothing, {db}.nowhere; CREATE OR REPLACE TEMPORARY TABLE {db}.tmp ENGINE=MEMORY AS SELECT * FROM {db}.t; CREATE OR REPLACE VIEW {db}.made AS SELECT 1 AS one; DROP VIEW IF EXISTS {db}.made, {db}.other; DROP SEQUENCE IF EXISTS {db}.none;
  ANALYZE TABLE {db}.t; OPTIMIZE TABLE {db}.t, {db}.u; CHECKSUM TABLE {db}.t; SHOW COLUMNS FROM {db}.t; SHOW CREATE TABLE {db}.t; SHOW CREATE VIEW {db}.w; SHOW INDEX FROM {db}.t; DESCRIBE {db}.t; SET @n = NEXT VALUE FOR {db}.s, @v = (SELECT EXTRACT(YEAR FROM {db}.t.at) FROM {db}.t LIMIT 1);
  CALL {db}.nothing_to_do(); DO {db}.twice(3);
  SELECT * FROM {db}.t PROCEDURE ANALYSE();
  SELECT id FROM {db}.t UNION SELECT id FROM {db}.u EXCEPT (SELECT id FROM {db}.t) ORDER BY 1;
  WITH c AS (SELECT * FROM {db}.t), d AS (SELECT * FROM c, {db}.u AS e WHERE e.id = c.id) SELECT * FROM d STRAIGHT_JOIN {db}.t;
END;;
CREATE PROCEDURE nothing_to_do() BEGIN END;;
SET sql_mode = 'ORACLE';;
CREATE FUNCTION rowtyped(n INT) RETURN INT AS r {db}.t%ROWTYPE; BEGIN SELECT * INTO r FROM {db}.t WHERE id = n; RETURN r.id; END;;
SET sql_mode = DEFAULT;;
DELIMITER ;
CREATE VIEW w AS SELECT EXTRACT(YEAR FROM {db}.t.at) AS y, TRIM(LEADING 'o' FROM {db}.t.n) AS n, t.id IN (SELECT {db}.u.id FROM {db}.u) AS i FROM {db}.t;
