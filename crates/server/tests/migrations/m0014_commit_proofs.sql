INSERT INTO commit_proofs (id, token, number) VALUES (-7, 8, 1795521600000);
