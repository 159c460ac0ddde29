//! The cases, by what they are about.

pub mod admission;
pub mod attack;
pub mod conversation;
pub mod crash;
pub mod credit;
pub mod driver;
pub mod framing;
pub mod hostile;
pub mod large;
pub mod many;
pub mod memory;
pub mod metadata;
pub mod monitor;

pub mod narrow;
pub mod policy;
pub mod reconnect;
pub mod serve;
pub mod siege;
pub mod stop;
pub mod terms;
pub mod wire_1_0;
pub mod wire_2_0;

/// Calls a macro with every case, by file.
#[doc(hidden)]
#[macro_export]
macro_rules! for_every_case {
    ($transport:expr) => {
        $crate::conformance_tests! {
            $transport;
            conversation {
                a_request_is_answered_by_every_kind_of_participant
                functions_closures_and_objects_take_part
                a_message_is_accepted_and_comes_in_order
                replies_name_their_requests_and_come_in_order
                asking_and_receiving_do_not_mix
                parts_of_a_reply_are_joined
                the_participant_is_listed
                state_belongs_to_one_conversation
                conversations_do_not_wait_for_each_other
                closing_tells_the_participant
                closing_lets_outstanding_requests_end
                a_dropped_conversation_is_closed
                the_connection_ends_with_the_last_handle
                disconnecting_ends_open_conversations
                a_subject_that_nobody_serves_is_refused
                trace_only_takes_messages_and_refuses_requests
                the_exact_subject_wins
                a_subject_that_is_too_long_is_refused
                a_ping_is_answered
                a_payload_that_is_too_large_is_refused
                a_wrong_token_is_refused
                a_burst_of_messages_keeps_its_order
                one_registration_serves_many_subjects
            }
            crash {
                the_asker_is_told_who_exited_and_why
                an_exit_takes_nothing_else_down
                after_an_exit_messages_are_refused
                a_failed_conversation_can_be_closed
                a_crash_can_be_seen_without_waiting
                a_crash_is_awaited_before_during_and_after_it
                no_crash_is_awaited_on_a_lost_connection
                an_exit_ends_every_outstanding_request
                a_crash_while_joining_is_an_exit
                a_crash_while_leaving_takes_nothing_down
                a_crash_that_crashes_again_is_one_exit
                an_exit_between_two_calls_is_told_at_once
                an_exit_while_a_call_is_out_is_told_at_once
                a_request_that_is_not_answered_ends_at_its_deadline
                the_reply_time_of_the_server_ends_a_request
                replies_that_nobody_asked_for_do_not_surface
                a_request_without_a_reply_is_refused
                a_full_pool_is_busy
                a_backlog_is_worked_off_on_one_seat
                an_async_participant_may_panic_anywhere
            }
            metadata {
                metadata_goes_with_a_message_and_with_its_reply
                on_a_1_0_link_the_schema_goes_along_and_headers_are_refused
            }
            policy {
                several_participants_share_a_subject
                a_request_is_answered_by_the_next_participant
                what_waits_behind_a_crash_keeps_its_order
                a_request_that_was_begun_ends_with_its_participant_alone
                a_request_that_brings_down_four_ends_as_exited
                a_moved_request_is_answered_before_the_close
                a_conversation_for_which_nobody_is_found_has_failed
                in_1_0_the_code_says_whether_the_conversation_goes_on
                a_crash_is_compensated
                a_stop_waits_for_compensations
                a_compensation_that_hangs_keeps_no_server
                a_crash_that_nobody_compensates_fails_all_the_same
                without_a_policy_an_exit_ends_it
            }
            serve {
                a_client_serves_and_another_asks
                a_client_asks_itself
                responders_share_a_subject
                a_client_serves_whatever_nobody_else_does
                a_responder_that_is_gone_is_told_at_once
                requests_go_on_with_the_next_responder
                an_exit_is_told_while_a_request_waits_for_the_next_responder
                an_exit_on_a_client_is_told_with_its_reason
                a_service_that_is_withdrawn_ends_at_once
                a_service_that_drains_serves_what_it_has
                a_dropped_service_is_withdrawn
                a_full_responder_takes_no_more
                a_responder_without_a_place_is_passed_over
                a_responder_that_refuses_says_why
                serving_needs_version_2
                offers_that_cannot_stand_are_refused
                a_slow_responder_with_large_messages_stops_nobody
                large_replies_of_a_responder_find_their_way
                replies_that_find_no_room_wait_for_it
                a_server_that_stops_ends_services
            }
            monitor {
                a_watch_is_told_every_record_once_in_the_order_of_the_log
                a_watch_of_what_is_open_begins_with_a_gap
                an_exit_is_told_with_what_was_unanswered
                a_conversation_that_goes_on_is_monitored_to_its_end
                who_watches_and_does_not_read_finds_a_gap_and_slows_nobody
                who_watches_and_is_killed_is_nothing_to_the_conversation
                a_watch_ends_with_its_connection
                who_may_not_look_on_is_refused
                what_cannot_be_monitored_is_refused_with_its_code
                frames_of_monitors_out_of_place_are_judged_with_their_code
                monitoring_needs_version_2
            }
            reconnect {
                a_client_comes_back_when_its_connection_is_lost
                conversations_end_with_their_connection_and_never_resume
                calls_wait_for_a_connection_and_no_longer_than_told
                what_is_served_is_served_again
                a_server_that_is_started_anew_is_served_again
                a_participant_that_still_leaves_is_not_another_with_its_pid
                what_was_withdrawn_is_not_offered_again
                a_server_that_refuses_for_good_ends_it
                a_server_that_lets_nobody_serve_ends_the_service_alone
                a_connection_that_never_lasts_is_tried_again_and_again
                whoever_is_closed_does_not_come_back
                whoever_is_closed_while_it_dials_dials_no_more
                without_a_driver_nobody_dials
                who_is_not_told_to_reconnect_does_not
            }
            terms {
                the_opener_says_what_an_exit_is
                a_conversation_ends_when_its_time_is_over
                the_server_says_how_long_nothing_may_be_said
                a_conversation_may_be_over_before_it_has_begun
                who_waits_for_a_reply_is_not_idle
                terms_need_version_2
            }
            stop {
                idle_clients_are_asked_to_go
                outstanding_requests_are_answered_first
                a_client_that_does_not_answer_is_given_up
                a_client_that_answers_sees_the_end
                a_server_that_has_ended_holds_nothing
                the_file_of_a_unix_socket_goes_with_its_server
                clients_learn_at_once_of_a_server_that_is_gone
                a_participant_that_hangs_does_not_keep_the_connections
            }
            large {
                ten_mib_both_ways_on_one_connection
                ten_mib_both_ways_in_the_largest_frames
                large_requests_are_pipelined
                more_than_fits_is_refused_in_1_0_and_nothing_else_suffers
                many_messages_one_way
            }
            credit {
                one_unread_conversation_of_a_thousand_holds_up_no_other
                an_asker_that_does_not_read_holds_up_nobody_else_of_its_responder
                a_message_that_finds_no_credit_is_sent_when_there_is_some
                what_nobody_will_read_keeps_no_conversation_from_its_end
                credit_that_is_exceeded_ends_the_connection
            }
            narrow {
                ten_mib_both_ways_through_small_buffers
                a_byte_at_a_time_carries_everything
            }
            many {
                eight_threads_ask_on_one_conversation
                eight_threads_ask_on_their_own_conversations
                a_thousand_requests_are_outstanding
                sixty_four_connections_are_served
                connections_come_and_go
                those_who_wait_long_delay_nobody
            }
            memory {
                those_who_hold_much_wait_while_memory_is_short
            }
            wire_1_0 {
                a_request_is_answered_on_its_stream
                pipelined_requests_are_answered_in_order
                a_ping_before_connect_is_answered
                a_half_closed_client_gets_its_answer
                a_half_closed_client_is_told_of_the_deadline
                a_client_that_ends_is_closed
                disconnect_is_echoed
                a_request_that_nobody_answers_gets_an_error
                an_exit_is_an_error_on_the_stream_of_each_request
                operations_that_fail_say_why
                stray_frames_are_ignored
                closing_is_silent
                an_id_that_was_closed_may_be_opened_again
                a_server_of_a_later_1_x_is_dialled_again
                a_client_of_2_0_alone_never_offers_1_0
                a_client_that_vanishes_leaves_nothing
            }
            wire_2_0 {
                a_half_closed_client_gets_what_it_asked_for
                a_half_closed_client_is_told_of_the_deadline
                a_half_closed_client_is_told_of_the_exit
                a_client_that_ends_is_closed
            }
            hostile {
                strangers_are_told_and_closed
                a_fault_ends_the_conversations
                one_byte_at_a_time_is_understood
                those_who_stall_are_closed
                a_flood_of_pings_is_closed
                a_client_of_1_0_that_does_not_read_is_not_read_from
                a_client_of_2_0_that_does_not_read_is_closed
                an_exit_overtakes_replies_that_find_no_room
                replies_that_wait_are_bounded
                a_client_that_is_killed_takes_nothing_down
                a_server_that_talks_nonsense_is_closed
            }
            attack {
                opens_beyond_the_limit_are_refused
                a_flood_of_what_is_refused_is_closed
                the_id_of_an_open_conversation_is_not_free
                the_largest_ids_are_as_good_as_any
                the_conversation_of_another_is_out_of_reach
                forged_replies_do_not_surface
                a_responder_that_forges_reaches_nobody
                a_responder_that_breaks_a_rule_has_exited
                hostile_last_words_are_cut_and_escaped
                a_client_that_floods_while_it_is_written_to_is_closed
                a_client_reads_on_while_it_writes
                an_exit_is_told_amid_a_flood
            }
            siege {
                who_was_refused_and_keeps_its_socket_has_no_place
                a_wrong_token_has_one_answer
                strangers_are_not_answered_for_ever
                a_slot_is_free_only_when_the_work_has_stopped
                a_client_that_answers_no_ping_is_given_up
                a_flood_of_subscriptions_is_closed
                new_names_are_refused_one_by_one
                opening_and_closing_without_end_leaves_nothing
                the_end_of_a_thousand_participants_delays_nobody
            }
            framing {
                what_is_no_frame_is_told_with_its_code
                nothing_comes_before_connect
                a_second_connect_is_out_of_place
                a_frame_that_does_not_come_is_given_up
                a_byte_at_a_time_is_too_little_in_the_long_run
                unknown_types_are_ignored_until_they_are_a_flood
                what_follows_the_end_is_discarded
                an_end_inside_a_frame_is_a_breach
            }
            admission {
                a_client_too_many_is_told_so
                a_peer_too_many_hears_the_reason_and_the_end
                an_address_has_its_share
                those_who_say_nothing_make_room
            }
            driver {
                without_a_driver_callers_do_it_all
                an_exit_while_nobody_waits_is_seen_later
                an_idle_client_with_a_driver_stays
                an_idle_client_without_a_driver_is_given_up
                a_server_that_answers_no_ping_is_given_up
                a_short_deadline_is_kept_while_others_wait_long
                what_a_caller_began_to_send_is_finished
            }
        }
    };
}

#[cfg(test)]
mod tests {
    /// A case that is on no list would never be run.
    #[test]
    fn every_case_is_on_the_list() {
        let list = include_str!("mod.rs");
        let files = [
            include_str!("conversation.rs"),
            include_str!("crash.rs"),
            include_str!("credit.rs"),
            include_str!("policy.rs"),
            include_str!("stop.rs"),
            include_str!("large.rs"),
            include_str!("many.rs"),
            include_str!("memory.rs"),
            include_str!("monitor.rs"),
            include_str!("wire_1_0.rs"),
            include_str!("hostile.rs"),
            include_str!("admission.rs"),
            include_str!("driver.rs"),
            include_str!("narrow.rs"),
            include_str!("wire_2_0.rs"),
            include_str!("attack.rs"),
            include_str!("framing.rs"),
            include_str!("siege.rs"),
            include_str!("serve.rs"),
            include_str!("reconnect.rs"),
            include_str!("terms.rs"),
        ];
        for file in files {
            let cases = file.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
            for case in cases {
                assert!(list.lines().any(|line| line.trim() == case), "{case} is on no list");
            }
        }
    }
}
