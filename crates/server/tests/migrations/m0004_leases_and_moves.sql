UPDATE seats SET says_seq = TRUE, regressions = 2, regressed_since = '2026-11-24 12:00:00' WHERE freed_at IS NULL;
UPDATE seats SET overlap = 'moved' WHERE freed_at IS NOT NULL;
INSERT INTO seat_moves (license_id, at, from_hardware_id, to_hardware_id, overlap_until)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', '2026-11-25 12:00:00', 'old-machine', 'new-machine', '2026-11-28 12:00:00');
INSERT INTO site_entries (license_id, day, written, counted)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', '2026-11-25', 102, 7);
