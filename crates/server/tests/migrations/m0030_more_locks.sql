INSERT INTO locks (name) VALUES ('another');
