INSERT INTO idempotency_keys (id, of_staff, caller, request, headers, attempt, noted_at, done, status, answer)
VALUES ('hash-of-a-key', TRUE, 'hash-of-a-token', 'hash-of-a-request', 'hash-of-headers',
        '00000000-0000-4000-8000-000000000031', '2026-11-27 12:00:00', 'issued FXSGHT-…-2222', 201, 'c2VhbGVk');
