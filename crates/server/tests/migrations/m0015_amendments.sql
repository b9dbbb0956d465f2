INSERT INTO amendments (license_id, number, author, reason, order_reference, recorded_at, effective_at, undoes, changes)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 2, 'command line', 'The fair', '4711', '2026-11-25 12:00:00', '2027-05-01 00:00:00', NULL, '[{"grant": {"key": "cameras", "quantity": 32, "until": "2027-07-29T23:59:59Z"}}, {"end": {"key": "module.map_view"}}]');
UPDATE licenses SET amendment = 2, is_plain = FALSE, changes_at = '2027-05-01 00:00:00' WHERE id = '0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11';
