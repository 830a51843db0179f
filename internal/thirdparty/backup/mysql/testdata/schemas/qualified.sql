-- Definitions that carry the name of their database, as graphical tools write them.
CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(10)); INSERT INTO t VALUES (1,'a'),(2,'b');
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(50));
CREATE FUNCTION `{db}`.`twice`(a INT) RETURNS INT DETERMINISTIC RETURN a * 2;
CREATE TRIGGER `{db}`.t_bi BEFORE INSERT ON `{db}`.t FOR EACH ROW SET NEW.n = UPPER(NEW.n);
CREATE TRIGGER `{db}`.`t_ai` AFTER INSERT ON `{db}` . `t` FOR EACH ROW INSERT INTO `{db}`.log (what) VALUES (CONCAT('`{db}`.t ', `{db}`.twice(NEW.id)));
CREATE VIEW `{db}`.v AS SELECT t.id, `{db}`.twice(t.id) AS d FROM `{db}`.t WHERE EXISTS (SELECT 1 FROM `{db}`.log WHERE `{db}`.log.id > 0 OR 1 = 1);
CREATE VIEW `{db}`.w AS SELECT v.d FROM `{db}`.v, `{db}`.t WHERE v.id = t.id;
DELIMITER ;;
CREATE PROCEDURE `{db}`.`pr`(IN lim INT)
BEGIN
  -- a comment that names `{db}`.t
  DECLARE n INT DEFAULT (SELECT COUNT(*) FROM `{db}`.t);
  CREATE TEMPORARY TABLE `{db}`.tmp AS SELECT * FROM `{db}`.t, `{db}`.log l WHERE l.id = 0;
  UPDATE `{db}`.t, `{db}`.log SET `{db}`.t.n = 'x' WHERE `{db}`.t.id = `{db}`.log.id;
  INSERT INTO `{db}`.log(what) SELECT `{db}`.t.n FROM (SELECT * FROM `{db}`.t) AS t JOIN `{db}`.v ON v.id = t.id;
  DELETE FROM `{db}`.log WHERE id IN (SELECT id FROM `{db}`.t WHERE n = '{db}.t');
  CALL `{db}`.other(n);
  DROP TEMPORARY TABLE `{db}`.tmp;
END;;
CREATE PROCEDURE other(a INT) SELECT a;;
DELIMITER ;
CREATE EVENT `{db}`.ev ON SCHEDULE EVERY 1 HOUR STARTS '2031-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE DO DELETE FROM `{db}`.log;
