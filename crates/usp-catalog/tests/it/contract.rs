//! The contract of the catalogue's ports, as facts: functions that are given a fresh catalogue and prove one thing through
//! its ports. What only one engine has (its files, its plans, its faults) is proved with that engine.
//!
//! An engine takes part by one line in main.rs, `catalog_contract!(name, opener)`, and by an [`Engine`] of its own.

pub(crate) mod accounts;
pub(crate) mod buckets;
pub(crate) mod claims;
pub(crate) mod collection;
pub(crate) mod commits;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod histories;
pub(crate) mod lists;
pub(crate) mod redo;
pub(crate) mod restart;
pub(crate) mod rules;
pub(crate) mod runs;
pub(crate) mod scrub;
pub(crate) mod shares;
pub(crate) mod uploads;
pub(crate) mod world;

use std::sync::Arc;

use async_trait::async_trait;
use usp_catalog::Catalog;

/// One installation of an engine: where its catalogue is, whether or not it is open.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Opens the catalogue over what is kept here: nothing at first. At most one is open at a time.
    async fn open(&self) -> Arc<dyn Catalog>;
    /// Another installation, in which nothing is kept yet.
    async fn fresh(&self) -> Box<dyn Engine>;
}

/// Makes a test of every fact, in a module that is named after the engine. This is the one list of all facts.
macro_rules! catalog_contract {
    ($engine:ident, $opener:expr) => {
        mod $engine {
            facts! {
                $opener;
                accounts {
                    users_are_made_changed_listed_and_deleted,
                    api_keys_belong_to_a_user_and_go_with_it,
                    the_use_of_a_key_is_noted_once_a_minute,
                    a_refresh_token_works_once_and_its_second_use_ends_the_family,
                    expired_and_unknown_tokens_are_refused,
                    keys_whose_time_is_over_are_forgotten,
                    a_new_password_or_disabling_ends_sessions_and_new_grants_do_not,
                }
                buckets {
                    a_bucket_reads_back_as_it_was_made_and_its_name_is_taken,
                    buckets_share_a_domain_key_just_when_they_name_the_same_domain,
                    a_list_shows_buckets_by_name_and_only_visible_ones,
                    a_policy_changes_but_its_domain_does_not,
                    a_bucket_is_deleted_only_when_nothing_is_in_it,
                    a_content_for_a_bucket_does_not_become_one_of_its_successor,
                }
                claims {
                    a_claim_takes_as_many_as_asked_for_and_each_once,
                    the_highest_priority_goes_first_whatever_its_age,
                    rules_and_buckets_are_served_in_turn,
                    a_rule_with_a_bound_holds_no_more_runs_and_lets_others_pass,
                    a_lease_that_is_over_is_taken_back_and_the_old_worker_writes_nothing,
                    many_are_retried_at_once_and_only_those_that_are_dead_or_cancelled,
                    a_run_carries_the_trace_of_who_asked_for_it_to_its_worker_and_its_events,
                    runs_that_a_clock_put_off_are_pulled_up,
                }
                collection {
                    a_sweep_takes_what_nothing_refers_to_and_nothing_else,
                    a_reference_that_was_made_after_the_mark_keeps_its_chunk,
                    a_hit_whose_row_was_swept_gets_a_new_row_for_the_same_frame,
                    no_commit_makes_a_row_in_a_doomed_pack,
                    a_doomed_pack_is_erased_two_cycles_and_the_grace_period_later,
                    only_a_row_that_still_stands_there_is_moved,
                    references_are_told_in_pages_that_go_on_where_the_last_one_ended,
                    a_join_in_the_middle_of_a_walk_hides_no_reference,
                }
                commits {
                    a_committed_version_reads_back_and_resolves_to_its_chunks,
                    the_etag_is_half_the_digest_and_the_version,
                    a_second_commit_under_a_key_is_a_new_version_of_the_same_file,
                    conditions_hold_against_what_stands_at_the_commit,
                    of_64_commits_at_once_that_want_the_key_absent_one_wins,
                    commits_of_one_group_stand_or_fall_each_for_itself_and_are_read_once_acknowledged,
                    two_commits_of_the_same_new_chunk_share_one_row,
                    a_commit_covers_its_frames_in_the_pack_and_a_sealed_pack_keeps_its_size,
                    sizes_that_do_not_add_up_are_refused_whole,
                    the_quota_counts_current_versions_and_a_replaced_one_not_twice,
                    usage_follows_versions_and_goes_back_to_nothing,
                    an_idempotency_key_answers_with_what_it_made_for_a_day,
                    a_repeated_request_ends_the_upload_it_came_with,
                    a_commit_tells_what_happened_in_order_and_wakes_followers,
                    a_commit_into_no_bucket_is_not_found,
                    derived_files_are_shown_with_their_source,
                    whether_bytes_fit_under_a_quota_can_be_asked_before_they_come,
                }
                events {
                    numbers_are_dense_and_rise_with_the_commits,
                    a_page_may_begin_and_end_between_events_that_were_committed_together,
                    each_of_events_that_were_committed_together_is_found_by_its_kind,
                    every_filter_gives_what_it_takes_from_the_whole_log,
                    events_of_a_file_are_found_from_its_upload_to_its_end_and_after_it,
                    every_event_says_which_file_and_key_it_is_about_although_they_are_gone,
                    an_upload_to_a_key_that_stands_tells_of_the_file_under_it,
                    an_id_that_comes_back_after_a_deletion_finds_the_events_of_both_lives,
                    events_of_a_deleted_bucket_are_found_by_its_name_and_go_on_under_its_successor,
                    events_say_what_they_are_about_in_full,
                    events_come_in_order_after_a_point_and_by_every_filter,
                    old_events_are_forgotten_and_their_numbers_never_come_again,
                    buckets_that_are_gone_are_told_of_until_their_last_event_is_forgotten,
                    events_of_a_clock_that_was_ahead_go_with_those_behind_them,
                    a_change_without_events_wakes_nobody,
                }
                files {
                    a_patch_sets_removes_and_leaves,
                    a_patch_is_refused_for_another_etag_too_many_labels_or_no_file,
                    a_deleted_file_is_gone_with_its_versions_labels_and_waiting_runs,
                    known_digests_are_answered_within_the_domain_only,
                    a_file_is_looked_for_in_its_own_bucket,
                    files_whose_time_is_over_are_deleted_some_at_a_time,
                    a_file_is_opened_with_the_first_chunks_of_what_is_read,
                }
                histories {
                    any_history_leaves_a_catalogue_that_agrees_with_itself_and_with_its_events,
                }
                lists {
                    a_page_of_files_with_long_metadata_is_short,
                    every_filter_and_order_pages_through_all_that_matches_and_nothing_twice,
                    pages_of_one_entry_pass_prefixes_and_keys_alike,
                    a_prefix_that_holds_only_unreleased_files_is_not_shown,
                    files_that_come_while_a_list_is_read_neither_repeat_nor_hide_others,
                    cursors_of_other_queries_and_impossible_questions_are_refused,
                }
                redo {
                    an_unsynced_frame_stands_or_falls_with_the_rows_that_need_it,
                    frames_are_let_go_when_their_pack_is_synced_behind_them_or_sealed,
                    a_late_commit_into_a_sealed_pack_leaves_no_frame_for_good,
                    frames_of_a_failed_pack_are_kept_until_their_chunks_stand_elsewhere,
                }
                restart {
                    everything_acknowledged_is_there_after_a_restart,
                }
                rules {
                    a_rule_gets_a_new_version_just_when_its_meaning_changes,
                    a_written_rule_is_in_force_and_known_as_written_after_a_restart,
                    an_erased_rule_counts_no_more_or_gives_its_place_to_the_one_behind_it,
                }
                runs {
                    a_claimed_run_comes_with_its_rule_its_file_and_a_number,
                    a_run_that_succeeds_makes_its_file_ready_and_publishes_with_the_end_of_a_step,
                    a_worker_whose_lease_was_taken_over_writes_nothing,
                    a_late_word_that_a_step_runs_does_not_undo_its_end,
                    a_lease_that_is_extended_is_not_taken_over,
                    a_failed_attempt_waits_and_the_last_one_kills_the_run_and_fails_the_file,
                    a_permanent_failure_kills_the_run_at_the_first_attempt,
                    crashes_count_as_attempts_until_none_is_left,
                    a_run_handed_back_is_due_at_once_and_its_attempt_does_not_count,
                    a_dead_run_that_is_retried_takes_its_file_to_processing_and_then_to_ready,
                    a_file_is_ready_once_all_ended_and_an_optional_death_is_only_noted,
                    a_cancelled_run_stops_its_worker_and_its_file_is_not_released,
                    runs_of_a_superseded_version_end_without_touching_the_file,
                    a_run_asked_for_later_takes_the_file_back_to_processing,
                    reports_that_break_a_limit_write_nothing_at_all,
                    due_runs_come_by_priority_and_leave_out_what_is_held_or_not_due_yet,
                    run_lists_page_newest_first_by_every_filter,
                    a_run_keeps_the_version_of_the_rule_that_it_began_with_even_when_retired,
                }
                shares {
                    a_copy_shares_the_content_and_touches_no_chunk,
                    a_shared_content_lives_as_long_as_any_who_shares_it,
                    an_older_version_is_restored_as_a_new_one,
                    a_copy_keeps_the_rules_of_a_commit,
                    copies_race_with_deletions_and_lose_nothing,
                }
                scrub {
                    a_scrub_says_where_it_stands_also_after_a_restart,
                    damage_sets_its_pack_aside_and_its_chunks_count_as_not_stored_until_they_come_anew,
                    doubt_touches_the_chunks_whose_frames_begin_in_the_range,
                    contents_that_name_a_chunk_are_found_with_their_owners,
                    sums_that_are_right_need_no_mending,
                }
                uploads {
                    an_upload_grows_by_what_is_durable_and_resumes_where_it_stood,
                    progress_that_is_not_durable_as_said_is_refused_whole,
                    a_completed_upload_becomes_a_file_with_all_its_bytes_and_costs,
                    a_preliminary_id_finds_the_file_that_stood_first,
                    ended_uploads_are_gone_and_tell_so,
                    a_session_behind_a_plain_put_makes_no_event_and_leaves_no_trace,
                    uploads_need_a_bucket_and_strangers_are_not_found,
                    recovery_ends_sessions_of_plain_puts_and_makes_held_runs_due,
                    long_contents_are_found_by_offset_across_segments,
                    the_size_of_an_upload_is_said_once_and_not_below_what_came,
                    parts_are_joined_in_the_order_that_is_said_and_who_asks_again_hears_the_same,
                    what_is_no_part_or_not_complete_is_not_joined_and_stays,
                }
            }
        }
    };
}

/// Makes a test of each fact that stands in `contract::$about`.
macro_rules! facts {
    ($opener:expr; $($about:ident { $($fact:ident),+ $(,)? })+) => {
        $(mod $about {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                let world = crate::contract::world::World::over(Box::new($opener)).await;
                Box::pin(crate::contract::$about::$fact(world)).await;
            })+
        })+
    };
}
