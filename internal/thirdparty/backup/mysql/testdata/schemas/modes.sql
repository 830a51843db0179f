-- Programs whose text depends on the SQL mode, and statements that name tables in rare places.
CREATE TABLE paths (id INT PRIMARY KEY, p VARCHAR(100)); INSERT INTO paths VALUES (1, 'C:\\dir\\'), (2, '{db}.paths');
CREATE TABLE `64 characters, ünïcode, "quotes", ``ticks`` . dots; -- ; and more` (`a.b` INT PRIMARY KEY, `c``d"e` INT REFERENCES `64 characters, ünïcode, "quotes", ``ticks`` . dots; -- ; and more` (`a.b`));
INSERT INTO `64 characters, ünïcode, "quotes", ``ticks`` . dots; -- ; and more` VALUES (1, NULL), (2, 1);
CREATE TABLE parted (id INT, y INT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parted VALUES (1, 1990), (2, 2020);
CREATE TABLE a_cycle (id INT PRIMARY KEY, b INT); CREATE TABLE b_cycle (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a_cycle (id)); ALTER TABLE a_cycle ADD FOREIGN KEY (b) REFERENCES b_cycle (id);
SET foreign_key_checks = 0; INSERT INTO a_cycle VALUES (1, 1); INSERT INTO b_cycle VALUES (1, 1); SET foreign_key_checks = 1;
SET sql_mode = 'NO_BACKSLASH_ESCAPES';
CREATE FUNCTION slash() RETURNS VARCHAR(100) READS SQL DATA RETURN (SELECT CONCAT('\', MAX(p), '\') FROM {db}.paths);
CREATE VIEW slashed AS SELECT CONCAT(p, '\') AS s FROM {db}.paths;
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';
CREATE FUNCTION ansi() RETURNS VARCHAR(100) READS SQL DATA RETURN (SELECT 'it''s ' || MAX("{db}"."paths"."p") FROM "{db}"."paths");
SET sql_mode = 'ORACLE';
DELIMITER ;;
CREATE FUNCTION newest(n INT) RETURN VARCHAR2(100) AS r {db}.paths.p%TYPE; BEGIN SELECT p INTO r FROM {db}.paths WHERE id = n; RETURN r || '!'; END;;
SET sql_mode = '';;
CREATE PROCEDURE moves() BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END;
  CREATE TEMPORARY TABLE {db}.tmp LIKE {db}.paths;
  DELETE FROM x, y USING {db}.paths AS x, {db}.parted AS y WHERE x.id = y.id;
  RENAME TABLE {db}.paths TO {db}.other, {db}.other TO {db}.paths;
  FOR r IN (SELECT id FROM {db}.paths) DO SET @n = r.id; END FOR;
  WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT * FROM c JOIN {db}.paths USING (id);
END;;
CREATE TRIGGER late BEFORE DELETE ON parted FOR EACH ROW BEGIN IF EXISTS (SELECT 1 FROM {db}.paths WHERE p LIKE CONCAT(OLD.y, '%')) THEN INSERT INTO {db}.paths (id, p) VALUES (OLD.id, 'x') ON DUPLICATE KEY UPDATE {db}.paths.p = 'y'; END IF; END;;
CREATE EVENT tidy ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'see {db}.paths' DO DELETE FROM {db}.paths WHERE id < 0;;
DELIMITER ;
