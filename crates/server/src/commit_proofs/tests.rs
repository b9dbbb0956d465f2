use super::*;

/// Ends a transaction that has taken a row; the database has the row's token if it was written.
fn ended(mut moved: Moved, outcome: Outcome, is_written: bool, database: &mut HashMap<i64, i64>) {
    if is_written {
        database.insert(moved.row, moved.token);
    }
    moved.outcome = outcome;
}

#[test]
fn every_lost_commit_is_noticed() {
    let (proofs, mut database) = (CommitProofs::default(), HashMap::new());
    ended(
        proofs.take_for_record(false),
        Outcome::Committed,
        true,
        &mut database,
    );
    let mut histories = Vec::new();
    for _ in 0..3 {
        histories.push(database.clone());
        // Three at a time have rows of their own.
        let moved = [proofs.take(), proofs.take(), proofs.take()];
        for moved in moved {
            ended(moved, Outcome::Committed, true, &mut database);
        }
    }
    let expected = proofs.expected();
    assert_eq!(expected.len(), 4);
    assert!(!proofs.are_lost(&expected, &database));
    for history in histories {
        assert!(proofs.are_lost(&expected, &history));
    }
    assert!(proofs.are_lost(&expected, &HashMap::new()));
}

#[test]
fn transactions_that_end_while_rows_are_looked_up_are_not_lost() {
    let (proofs, mut database) = (CommitProofs::default(), HashMap::new());
    ended(proofs.take(), Outcome::Committed, true, &mut database);
    let expected = proofs.expected();
    let before = database.clone();
    // One that is committed, and not yet known to be.
    let moved = proofs.take();
    database.insert(moved.row, moved.token);
    assert!(!proofs.are_lost(&expected, &database));
    assert!(!proofs.are_lost(&proofs.expected(), &database));
    ended(moved, Outcome::Committed, true, &mut database);
    assert!(!proofs.are_lost(&expected, &database));
    // What was read before it was committed.
    assert!(!proofs.are_lost(&expected, &before));
    // One that is rolled back.
    ended(proofs.take(), Outcome::NotTried, false, &mut database);
    assert!(!proofs.are_lost(&proofs.expected(), &database));
    assert!(proofs.are_lost(&proofs.expected(), &before));
}

#[test]
fn a_commit_with_an_unknown_outcome_may_or_may_not_be_there() {
    for is_written in [true, false] {
        let (proofs, mut database) = (CommitProofs::default(), HashMap::new());
        ended(proofs.take(), Outcome::Uncertain, is_written, &mut database);
        assert!(proofs.expected().is_empty());
        ended(proofs.take(), Outcome::Committed, true, &mut database);
        ended(proofs.take(), Outcome::Uncertain, is_written, &mut database);
        assert!(!proofs.are_lost(&proofs.expected(), &database));
        assert!(proofs.are_lost(&proofs.expected(), &HashMap::new()));
    }
}

#[test]
fn a_record_replaces_the_proofs_of_earlier_answers_only() {
    let (proofs, mut database) = (CommitProofs::default(), HashMap::new());
    ended(proofs.take(), Outcome::Committed, true, &mut database);
    let expected = proofs.expected();
    ended(
        proofs.take_for_record(false),
        Outcome::Committed,
        true,
        &mut database,
    );
    ended(proofs.take(), Outcome::Committed, true, &mut database);
    proofs.forget(&expected);
    assert_eq!(proofs.expected().len(), 2);
    proofs.forget(&proofs.expected());
    assert_eq!(proofs.expected().len(), 1, "the record");
    assert!(proofs.are_lost(&proofs.expected(), &HashMap::new()));
}

#[test]
fn another_server_runs_while_it_records_and_has_not_stopped() {
    let (proofs, another) = (CommitProofs::default(), CommitProofs::default());
    let written = |moved: Moved, number: i64| Model {
        id: moved.row,
        token: moved.token,
        number,
    };
    for (found, expected) in [
        (written(another.take_for_record(false), 100), true),
        (written(another.take_for_record(false), 99), false),
        (written(another.take_for_record(true), 100), false),
        // A command records nothing.
        (written(another.take(), 100), false),
        (written(proofs.take_for_record(false), 100), false),
    ] {
        let is_running = proofs.is_another_running(std::slice::from_ref(&found), 100);
        assert_eq!(is_running, expected, "{found:?}");
    }
}
