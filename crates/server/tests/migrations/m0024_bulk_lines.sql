INSERT INTO bulk_lines (id, license_id, amendment, done_at)
VALUES ('abc', '0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 2, '2026-11-27 12:00:00');
