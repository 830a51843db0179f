-- Tables and aliases that have the name of the database.
CREATE TABLE `{db}` (id INT PRIMARY KEY, v INT); INSERT INTO `{db}` VALUES (1, 10), (2, 20);
CREATE TABLE o (id INT PRIMARY KEY, v INT); INSERT INTO o VALUES (1, 1);
CREATE VIEW v AS SELECT `{db}`.id, o.v + `{db}`.v AS total FROM `{db}` JOIN o ON o.id = `{db}`.id WHERE `{db}`.v > 5;
CREATE VIEW w AS SELECT `{db}`.id FROM o AS `{db}` ORDER BY `{db}`.id, `{db}`.v;
CREATE FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT SUM(`{db}`.v) FROM `{db}`.`{db}` WHERE `{db}`.id > 0 AND COALESCE(0, `{db}`.v) > 0);
