//! Every planted bug is found.

use duet_simulator::plan::Plan;
use duet_simulator::workload::workload;
use duet_simulator::{FaultChoice, run_plan, run_seed};

fn is_found(planted_bug: u32) {
    let found = (0..300).any(|seed| run_seed(seed, planted_bug, false).failure.is_some());
    assert!(found, "planted bug {planted_bug} was not found in 300 seeds");
}

/// By this workload alone.
fn is_found_by(name: &str, planted_bug: u32) {
    is_found_in(Some(name), None, planted_bug);
}

/// With these faults in every seed.
fn is_found_under(faults: &str, planted_bug: u32) {
    is_found_in(None, Some(faults), planted_bug);
}

/// By a workload alone, or with some faults in every seed, or both.
fn is_found_in(name: Option<&str>, faults: Option<&str>, planted_bug: u32) {
    let workload = name.map(|name| workload(name).expect("there is such a workload"));
    let choice = faults.map(|faults| FaultChoice::parse(faults).expect("there are such faults"));
    let found = (0..300).any(|seed| {
        let mut plan = Plan::new(seed, planted_bug);
        if let Some(workload) = &workload {
            (workload.choose)(&mut plan);
        }
        if let Some(choice) = &choice {
            choice.apply(&mut plan);
        }
        run_plan(plan, false).failure.is_some()
    });
    assert!(found, "planted bug {planted_bug} was not found in 300 seeds of {name:?} with {faults:?}");
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

#[test]
fn an_abort_sent_straight_to_the_backup_is_found() {
    is_found(5);
}

#[test]
fn a_participant_that_decides_by_itself_is_found() {
    is_found(6);
}

#[test]
fn rows_exposed_before_all_replicas_decided_are_found() {
    is_found(7);
}

#[test]
fn reads_for_share_without_a_lock_are_found() {
    is_found(10);
}

#[test]
fn a_scan_in_the_order_of_buckets_is_found() {
    is_found_by("scans", 9);
}

#[test]
fn a_one_pass_write_that_leaves_its_entries_alone_is_found() {
    is_found(15);
}

#[test]
fn a_look_up_that_believes_entries_is_found() {
    is_found(16);
}

#[test]
fn a_look_up_that_never_tries_again_is_found() {
    is_found(17);
}

#[test]
fn an_outcome_of_a_transaction_that_is_not_replicated_is_found() {
    is_found(8);
}

#[test]
fn epochs_that_are_not_raised_by_what_is_heard_are_found() {
    is_found(11);
}

#[test]
fn an_epoch_that_is_drained_too_early_is_found() {
    is_found(12);
}

#[test]
fn locks_for_share_that_are_let_go_early_are_found() {
    is_found(13);
}

#[test]
fn a_gap_after_a_reconnect_is_found() {
    is_found(14);
}

#[test]
fn an_index_entry_that_is_left_behind_is_found() {
    is_found(18);
}

#[test]
fn a_range_that_goes_on_behind_the_wrong_key_is_found() {
    is_found(19);
}

#[test]
fn an_index_that_misses_what_was_on_its_way_is_found() {
    is_found(20);
}

#[test]
fn observations_without_a_lease_are_found() {
    is_found(22);
}

#[test]
fn a_partition_that_answers_too_early_is_found() {
    is_found(24);
}

#[test]
fn decided_transactions_that_are_not_told_to_new_primaries_are_found() {
    is_found_under("all", 26);
}

#[test]
fn rows_entered_into_a_unique_index_without_a_lock_are_found() {
    is_found(27);
}

#[test]
fn a_purge_of_rows_that_have_changed_is_found() {
    is_found(21);
}

#[test]
fn a_lease_that_is_judged_too_early_is_found() {
    is_found(23);
}

#[test]
fn transactions_that_outlive_a_primary_that_they_used_are_found() {
    // Its transactions live longest: one seed in forty finds it, of all workloads together one in three hundred.
    is_found_in(Some("append"), Some("all"), 25);
}

#[test]
fn a_prepare_before_the_operations_of_its_transaction_is_found() {
    is_found(28);
}

#[test]
fn a_version_that_is_taken_only_once_it_is_active_is_found() {
    is_found_by("columns", 29);
}

#[test]
fn rows_that_are_copied_late_are_found() {
    is_found(30);
}

#[test]
fn a_promotion_by_a_node_that_believes_to_be_alone_is_found() {
    is_found(31);
}

#[test]
fn outcomes_that_are_not_copied_are_found() {
    is_found(32);
}

#[test]
fn changes_from_before_a_join_that_are_not_copied_are_found() {
    is_found(33);
}

#[test]
fn a_hand_over_with_writes_under_way_is_found() {
    is_found(34);
}

#[test]
fn a_restarted_process_that_passes_for_the_one_before_it_is_found() {
    is_found(35);
}

#[test]
fn a_wiped_management_node_under_its_old_raft_id_is_found() {
    is_found_under("wipe-management,cut-management,kill-data-node", 36);
}

#[test]
fn a_node_that_takes_a_late_proposal_for_its_removal_is_found() {
    is_found(37);
}

#[test]
fn an_abort_that_nobody_makes_sure_of_is_found() {
    is_found(38);
}

#[test]
fn leases_without_an_allowance_for_clocks_are_found() {
    is_found_under("skew-clocks,pause-data-node", 39);
}

#[test]
fn a_node_that_leaves_too_early_is_found() {
    is_found(41);
}
