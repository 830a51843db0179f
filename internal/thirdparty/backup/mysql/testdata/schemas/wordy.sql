-- Programs whose text resembles the dump's own syntax or names the database everywhere.
CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(60)); INSERT INTO t VALUES (1, '*/ ;; -- @ end 0 {}'), (2, 'DELIMITER ;;'), (3, '`{db}`.`t`'); CREATE TABLE `{db}.t` (`{db}` INT, `{db}.id` INT); INSERT INTO `{db}.t` VALUES (1, 2);
DELIMITER $$
CREATE PROCEDURE wordy(INOUT `{db}` INT, OUT o VARCHAR(100)) MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s */ of `{db}`; -- @ end'
`{db}`: BEGIN
  DECLARE c CURSOR (lo INT) FOR SELECT id FROM {db}.t WHERE id > lo;
  DECLARE CONTINUE HANDLER FOR 1146, SQLSTATE '42S02' SET o = '{db}.t is gone; -- really';
  # a comment with `{db}`.t and it's quote
  -- @ end 3 {}
  /* {db}.t */ /*!50003 SELECT COUNT(*) INTO @n FROM {db}.t */;
  IF {db} > 1 THEN LEAVE {db}; END IF;
  loop_one: LOOP SET {db} = {db} + 1; IF {db} > 5 THEN LEAVE loop_one; END IF; END LOOP loop_one;
  INSERT INTO {db}.t (id, n) VALUES ({db}, CONCAT('a;b', "{db}", 'it''s', 'b\\', '\'')) ON DUPLICATE KEY UPDATE n = VALUES(n), {db}.t.n = '$$';
  REPLACE {db}.t SET id = 9, n = (SELECT MAX({db}.t.n) FROM {db}.t USE INDEX (PRIMARY)) ;
  UPDATE LOW_PRIORITY {db}.t AS x JOIN {db}.`{db}.t` AS y ON x.id = y.`{db}` SET x.n = y.`{db}.id`;
  DELETE {db}.t FROM {db}.t INNER JOIN {db}.`{db}.t` z ON z.`{db}` = {db}.t.id WHERE {db}.t.id < 0;
  SELECT {db}.t.*, {db}.twice(t.id), (SELECT {db}.twice(2)) FROM {db}.t NATURAL LEFT JOIN ({db}.`{db}.t`, {db}.t AS u) WHERE ({db}.t.id, 1) IN (SELECT q.id, 1 FROM {db}.t q) ORDER BY {db}.t.id;
  ANALYZE TABLE {db}.t; OPTIMIZE TABLE {db}.t, {db}.`{db}.t`; TRUNCATE {db}.`{db}.t`;
  EXECUTE IMMEDIATE 'SELECT 1'; SET @s = NEXTVAL({db}.s), @v = NEXT VALUE FOR {db}.s; SHOW COLUMNS FROM {db}.t; SHOW CREATE TABLE {db}.t; CHECKSUM TABLE {db}.t;
  CREATE OR REPLACE TEMPORARY TABLE {db}.tmp ENGINE=MEMORY AS SELECT * FROM {db}.t; ALTER TABLE {db}.t ADD COLUMN IF NOT EXISTS n VARCHAR(60), RENAME TO {db}.t; DROP TABLE IF EXISTS {db}.tmp, {db}.nothing; CREATE INDEX IF NOT EXISTS i ON {db}.t (n); DROP INDEX IF EXISTS i ON {db}.t;
  CREATE OR REPLACE VIEW {db}.made AS SELECT 1 AS one; DROP VIEW IF EXISTS {db}.made, {db}.other;
  GRANT SELECT ON {db}.t TO CURRENT_USER; GRANT EXECUTE ON FUNCTION {db}.twice TO CURRENT_USER;
END $$
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n $$
CREATE AGGREGATE FUNCTION longest(x VARCHAR(60)) RETURNS VARCHAR(60) BEGIN DECLARE m VARCHAR(60) DEFAULT ''; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN m; LOOP FETCH GROUP NEXT ROW; IF LENGTH(x) > LENGTH(m) THEN SET m = x; END IF; END LOOP; END $$
CREATE TRIGGER three AFTER UPDATE ON t FOR EACH ROW BEGIN IF NOT (NEW.n <=> OLD.n) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no `{db}`.t;;', MYSQL_ERRNO = 5000; END IF; END $$
CREATE TRIGGER one AFTER UPDATE ON t FOR EACH ROW PRECEDES three BEGIN END $$
CREATE TRIGGER two AFTER UPDATE ON t FOR EACH ROW FOLLOWS one SET @x = (SELECT COUNT(*) FROM `{db}`.`{db}.t`) $$
DELIMITER ;
CREATE SEQUENCE s;
CREATE ALGORITHM=MERGE VIEW `v {db}` AS SELECT `{db}`.`{db}.t`.`{db}` AS `{db}`, "{db}.t" AS lit FROM `{db}`.`{db}.t` WITH CASCADED CHECK OPTION;
CREATE VIEW deep AS SELECT x.`{db}` FROM (SELECT `{db}` FROM `v {db}` UNION SELECT id FROM t WHERE EXISTS (SELECT * FROM `{db}`.`{db}.t` WHERE `{db}`.`{db}.t`.`{db}` = t.id)) AS x;
CREATE VIEW `{db}` AS SELECT `{db}`.`id` FROM `{db}`.`t` AS `{db}` WHERE `{db}`.`n` <> '';
CREATE VIEW longest_of AS SELECT longest(n) AS l, twice(COUNT(*)) AS c FROM `{db}`.t GROUP BY LEFT(n, 1);
CREATE EVENT wordy ON SCHEDULE EVERY 2 WEEK STARTS '2031-01-01 00:00:00' ENDS '2037-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE ON SLAVE COMMENT '`{db}`.t ON COMPLETION PRESERVE DISABLE' DO CALL {db}.wordy(@a, @b);
