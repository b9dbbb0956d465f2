INSERT INTO customers (id, name, name_folded, name_key, reference, reference_key, contacts, notes, merged_into, created_at, updated_at)
VALUES ('cus_00000000000000000000000000000003', 'Pier', 'pier', 'ghi', 'K-18', 'jkl', '[]', '', NULL, '2026-11-27 12:00:00', '2026-11-27 12:00:00');
