-- References to another database, and tables whose rows lie elsewhere.
CREATE DATABASE IF NOT EXISTS beside_it; CREATE TABLE IF NOT EXISTS beside_it.far (id INT PRIMARY KEY, v INT); INSERT IGNORE INTO beside_it.far VALUES (1, 1), (2, 2); CREATE SEQUENCE IF NOT EXISTS beside_it.far_s;
CREATE TABLE near (id INT PRIMARY KEY, far INT, CONSTRAINT cross_key FOREIGN KEY (far) REFERENCES beside_it.far (id)); INSERT INTO near VALUES (1, 1);
CREATE TABLE numbered (id BIGINT DEFAULT (NEXTVAL(beside_it.far_s)) PRIMARY KEY, l BIGINT); INSERT INTO numbered (l) VALUES (1), (2);
CREATE TABLE hole (id INT, v VARCHAR(10)) ENGINE=BLACKHOLE; CREATE TABLE kept (id INT AUTO_INCREMENT PRIMARY KEY, v TEXT) ENGINE=ARCHIVE; INSERT INTO kept (v) VALUES ('x'), ('y');
CREATE TABLE mine (id INT, KEY (id)) ENGINE=MyISAM; INSERT INTO mine VALUES (1); CREATE TABLE merged (id INT, KEY (id)) ENGINE=MERGE UNION=(mine) INSERT_METHOD=FIRST;
