INSERT INTO locks (name) VALUES ('sample');
