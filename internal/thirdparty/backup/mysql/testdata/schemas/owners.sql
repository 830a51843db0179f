-- Definitions that belong to roles, to accounts with strange names, and to accounts that no longer exist.
CREATE ROLE owning; CREATE USER 'o''dd @ "user"'@'%' IDENTIFIED BY 'x'; CREATE USER ''@'nowhere.example' IDENTIFIED BY 'x'; CREATE USER short@'10.%' IDENTIFIED BY 'x';
CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1);
CREATE DEFINER=owning SQL SECURITY DEFINER VIEW of_role AS SELECT id FROM t;
CREATE DEFINER=owning PROCEDURE role_proc() SELECT 1;
CREATE DEFINER=owning TRIGGER role_trigger BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 2;
CREATE DEFINER='o''dd @ "user"'@'%' SQL SECURITY INVOKER VIEW of_odd AS SELECT v FROM t;
CREATE DEFINER='o''dd @ "user"'@'%' FUNCTION odd_function() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER RETURN 1;
CREATE DEFINER=''@'nowhere.example' PROCEDURE of_nobody() SELECT 2;
CREATE DEFINER=short@'10.%' EVENT of_short ON SCHEDULE EVERY 1 DAY STARTS '2031-01-01 00:00:00' DISABLE DO SELECT 1;
CREATE DEFINER=ghost@'%' PROCEDURE ghost_proc() COMMENT 'it''s a */ comment' SELECT 1;
