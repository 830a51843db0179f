-- The shape of a personnel database: salaries and titles by period, managers, views of the current state, partitions by year.
CREATE TABLE employees (emp_no INT NOT NULL PRIMARY KEY, birth_date DATE NOT NULL, first_name VARCHAR(14) NOT NULL, gender ENUM('M','F') NOT NULL, hire_date DATE NOT NULL);
CREATE TABLE departments (dept_no CHAR(4) PRIMARY KEY, dept_name VARCHAR(40) NOT NULL UNIQUE);
CREATE TABLE dept_emp (emp_no INT NOT NULL, dept_no CHAR(4) NOT NULL, from_date DATE NOT NULL, to_date DATE NOT NULL, PRIMARY KEY (emp_no, dept_no), FOREIGN KEY (emp_no) REFERENCES employees (emp_no) ON DELETE CASCADE, FOREIGN KEY (dept_no) REFERENCES departments (dept_no));
CREATE TABLE salaries (emp_no INT NOT NULL, salary INT NOT NULL, from_date DATE NOT NULL, to_date DATE NOT NULL, PRIMARY KEY (emp_no, from_date)) PARTITION BY RANGE (YEAR(from_date)) (PARTITION p85 VALUES LESS THAN (1986), PARTITION p90 VALUES LESS THAN (1991), PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO employees SELECT seq, '1953-09-02' + INTERVAL seq DAY, CONCAT('n', seq), IF(seq % 2, 'M', 'F'), '1986-06-26' FROM seq_1_to_3000;
INSERT INTO departments VALUES ('d001', 'Marketing'), ('d002', 'R&D'); INSERT INTO dept_emp SELECT emp_no, IF(emp_no % 3, 'd001', 'd002'), '1990-01-01', '9999-01-01' FROM employees;
INSERT INTO salaries SELECT emp_no, 40000 + emp_no, '1985-01-01' + INTERVAL emp_no DAY, '9999-01-01' FROM employees;
CREATE VIEW dept_emp_latest_date AS SELECT emp_no, MAX(from_date) AS from_date, MAX(to_date) AS to_date FROM dept_emp GROUP BY emp_no;
CREATE VIEW current_dept_emp AS SELECT l.emp_no, dept_no, l.from_date, l.to_date FROM dept_emp d INNER JOIN dept_emp_latest_date l ON d.emp_no = l.emp_no AND d.from_date = l.from_date AND l.to_date = d.to_date;
CREATE FUNCTION emp_dept_name(e INT) RETURNS VARCHAR(40) READS SQL DATA RETURN (SELECT dept_name FROM departments WHERE dept_no = (SELECT dept_no FROM current_dept_emp WHERE emp_no = e));
CREATE VIEW v_full AS SELECT emp_no, emp_dept_name(emp_no) AS d FROM employees;
