UPDATE seats SET bound_key = '{"jkt":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","provenSeq":1795521500000,"nonces":["abc"]}', document_hash = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k', activated_seq = 1795521400000 WHERE freed_at IS NULL;
UPDATE licenses SET requires_proof = TRUE WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
