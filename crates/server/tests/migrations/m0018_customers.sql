INSERT INTO customers (id, name, name_folded, name_key, reference, contacts, notes, merged_into, created_at, updated_at)
VALUES ('cus_00000000000000000000000000000001', 'Quay & Co', 'quay & co', 'abc', 'K-17', '[{"name": "Ana", "email": "ana@quay.example", "phone": null}]', 'Call first', NULL, '2026-11-26 12:00:00', '2026-11-26 13:00:00'),
       ('cus_00000000000000000000000000000002', 'Quay', 'quay', 'def', NULL, '[]', '', 'cus_00000000000000000000000000000001', '2026-11-26 12:00:00', '2026-11-26 13:00:00');
