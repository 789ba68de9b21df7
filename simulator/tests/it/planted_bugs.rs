//! Every planted bug is found.

use duet_simulator::run_seed;

fn is_found(planted_bug: u32) {
    let found = (0..200).any(|seed| run_seed(seed, planted_bug, false).failure.is_some());
    assert!(found, "planted bug {planted_bug} was not found in 200 seeds");
}

#[test]
fn a_backup_that_skips_a_write_is_found() {
    is_found(1);
}

#[test]
fn an_acknowledgement_before_the_backup_accepted_is_found() {
    is_found(2);
}

#[test]
fn a_lane_that_does_not_resend_is_found() {
    is_found(3);
}

#[test]
fn a_forgotten_outcome_is_found() {
    is_found(4);
}
