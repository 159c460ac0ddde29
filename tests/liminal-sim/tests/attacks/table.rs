//! Every case by its name: where it is simulated, and where it is tried against a server of every transport.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What there is of a case: the tests here, and those with sockets.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Row] = &[
    // Framing.
    (
        "a length of 4 GiB, or above the limit of this state",
        &["a_length_above_the_limit_is_refused_at_its_tenth_byte"],
        &["what_is_no_frame_is_told_with_its_code"],
    ),
    (
        "a legal length, and the body never comes",
        &["a_body_that_never_comes_is_waited_for_so_long_and_no_longer"],
        &["a_frame_that_does_not_come_is_given_up"],
    ),
    (
        "one byte per interval",
        &["a_byte_in_each_interval_is_too_little_in_the_long_run"],
        &["a_byte_at_a_time_is_too_little_in_the_long_run"],
    ),
    (
        "the wrong stream for the type",
        &["a_frame_on_the_wrong_stream_is_refused"],
        &["what_is_no_frame_is_told_with_its_code"],
    ),
    (
        "the end of the stream inside a frame",
        &["an_end_inside_a_frame_delivers_no_part_of_it"],
        &["an_end_inside_a_frame_is_a_breach"],
    ),
    (
        "an inner length past the frame",
        &["a_field_that_goes_on_past_its_frame_is_refused"],
        &["what_is_no_frame_is_told_with_its_code"],
    ),
    (
        "a count that promises more than the bytes hold",
        &["a_count_of_more_elements_than_there_are_bytes_is_refused"],
        &["what_is_no_frame_is_told_with_its_code"],
    ),
    ("trailing bytes", &["trailing_bytes_are_refused"], &["what_is_no_frame_is_told_with_its_code"]),
    (
        "every chunking of the same bytes",
        &["however_bytes_are_split_the_answers_are_the_same"],
        &["one_byte_at_a_time_is_understood", "a_byte_at_a_time_carries_everything"],
    ),
    ("bytes after close", &["bytes_after_the_end_are_discarded"], &["what_follows_the_end_is_discarded"]),
    (
        "a flood of unknown types",
        &["a_flood_of_unknown_types_is_refused"],
        &["unknown_types_are_ignored_until_they_are_a_flood"],
    ),
    (
        "HTTP, TLS and noise",
        &["strangers_are_told_and_closed"],
        &["strangers_are_told_and_closed", "a_stranger_is_told_why_and_is_gone_and_nobody_else_notices"],
    ),
    // Handshake.
    ("anything before Connect", &["nothing_comes_before_connect"], &["nothing_comes_before_connect"]),
    ("a second Connect", &["a_second_connect_is_out_of_place"], &["a_second_connect_is_out_of_place"]),
    (
        "connect and stall, by the crowd",
        &["a_hundred_who_say_nothing_are_given_up_when_their_time_is_over"],
        &["those_who_say_nothing_make_room", "a_thousand_who_say_nothing_make_room_for_one_who_speaks"],
    ),
    (
        "a refused client that keeps its socket",
        &["who_was_refused_and_keeps_its_socket_holds_nothing"],
        &[
            "who_was_refused_and_keeps_its_socket_has_no_place",
            "those_who_are_turned_away_hold_nothing_of_the_server",
        ],
    ),
    (
        "token guessing",
        &["a_wrong_token_has_one_answer_whatever_is_wrong_with_it"],
        &["a_wrong_token_has_one_answer"],
    ),
    (
        "a token of 4 GiB",
        &["a_token_of_4_gib_is_refused_before_it_comes"],
        &["what_is_no_frame_is_told_with_its_code"],
    ),
    ("no common version", &["no_version_in_common_is_told"], &["strangers_are_told_and_closed"]),
    (
        "more bytes out than in before authentication",
        &["pings_before_connect_are_few"],
        &["strangers_are_not_answered_for_ever"],
    ),
    // Streams and flow.
    (
        "open, request, cancel in a loop",
        &["slots_are_bounded_however_they_come_and_go"],
        &["a_slot_is_free_only_when_the_work_has_stopped"],
    ),
    (
        "provoked refusals",
        &["provoked_refusals_end_the_connection"],
        &["a_flood_of_what_is_refused_is_closed"],
    ),
    (
        "half-open for ever",
        &["a_peer_that_is_gone_without_a_word_is_found_out"],
        &["a_client_that_answers_no_ping_is_given_up", "a_half_closed_client_is_told_of_the_deadline"],
    ),
    (
        "a reader that stops while it sends pings",
        &["a_reader_that_stops_while_it_pings_owes_a_number_and_no_more"],
        &["a_client_that_floods_while_it_is_written_to_is_closed"],
    ),
    (
        "a flood of pings",
        &["a_flood_of_pings_is_refused", "a_pong_comes_for_each_ping_that_is_no_flood"],
        &["a_flood_of_pings_is_closed"],
    ),
    (
        "a flood of subscriptions",
        &["a_flood_of_subscriptions_that_are_none_is_refused"],
        &["a_flood_of_subscriptions_is_closed"],
    ),
    (
        "ids and names chosen to collide",
        &["ids_and_names_chosen_to_collide_cost_no_more_than_others"],
        &["the_id_of_an_open_conversation_is_not_free"],
    ),
    (
        "credit: overflow, none, on the dead, exceeded, of one byte",
        &[
            "one_byte_above_the_credit_ends_the_connection",
            "credit_that_nobody_can_count_ends_the_connection",
            "credit_of_little_use_is_a_control_frame",
            "credit_on_the_dead_does_nothing",
            "windows_of_nothing_and_windows_that_come_twice_or_never_are_refused",
        ],
        &["credit_that_is_exceeded_ends_the_connection"],
    ),
    (
        "a peer that gives no credit",
        &["who_gives_no_credit_holds_up_nobody_else_of_its_participants"],
        &["an_asker_that_does_not_read_holds_up_nobody_else_of_its_responder"],
    ),
    // Conversations.
    (
        "endless new names",
        &["new_names_without_end_are_kept_by_nobody"],
        &["new_names_are_refused_one_by_one"],
    ),
    (
        "requests whose replies are never read",
        &[
            "replies_that_are_never_read_are_bounded_on_one_conversation_and_on_many",
            "messages_that_wait_for_their_participants_are_bounded",
        ],
        &["a_client_of_2_0_that_does_not_read_is_closed", "replies_that_wait_are_bounded"],
    ),
    (
        "forged replies",
        &["replies_that_a_client_forges_reach_nobody", "what_another_has_open_is_out_of_reach"],
        &["forged_replies_do_not_surface", "the_conversation_of_another_is_out_of_reach"],
    ),
    (
        "join and leave flapping",
        &["opening_and_closing_without_end_leaves_nothing_and_delays_nobody"],
        &["opening_and_closing_without_end_leaves_nothing"],
    ),
    (
        "the death of very many participants at once",
        &["the_end_of_six_hundred_participants_at_once_costs_as_much_as_each_of_them"],
        &["the_end_of_a_thousand_participants_delays_nobody"],
    ),
    (
        "a close that comes right before the loss",
        &["a_close_that_came_before_the_loss_is_a_close"],
        &["closing_tells_the_participant"],
    ),
    ("hostile exit reasons", &["hostile_last_words_are_cut"], &["hostile_last_words_are_cut_and_escaped"]),
    (
        "ids near their maximum",
        &["ids_near_their_maximum_are_as_good_as_any"],
        &["the_largest_ids_are_as_good_as_any"],
    ),
    // Serving.
    (
        "replies of who serves: to nothing, twice, of the dead, above their credit",
        &[
            "replies_to_what_was_never_asked_reach_nobody",
            "what_the_dead_say_changes_nothing",
            "replies_above_their_credit_are_the_end_of_who_serves",
        ],
        &["a_responder_that_forges_reaches_nobody"],
    ),
    (
        "frames of serving: malformed, out of place, without end",
        &[
            "frames_of_serving_out_of_place_are_ignored",
            "malformed_frames_of_serving_are_refused_with_their_code_and_are_the_exit_of_who_serves",
            "offers_without_end_are_refused",
        ],
        &["a_responder_that_breaks_a_rule_has_exited"],
    ),
    (
        "a client that serves and does not read",
        &["who_serves_and_does_not_read_holds_up_nobody_else"],
        &["a_slow_responder_with_large_messages_stops_nobody"],
    ),
    // Process.
    (
        "a participant that panics",
        &["panics_take_down_their_own_conversations_alone"],
        &["an_exit_takes_nothing_else_down", "an_async_participant_may_panic_anywhere"],
    ),
    (
        "a participant that never answers, or answers after its deadline",
        &["requests_that_nobody_answers_end_in_time"],
        &[
            "a_request_that_is_not_answered_ends_at_its_deadline",
            "the_reply_time_of_the_server_ends_a_request",
        ],
    ),
    (
        "a participant that replies twice",
        &["a_second_reply_is_nobodys"],
        &["replies_that_nobody_asked_for_do_not_surface"],
    ),
];

/// What only a machine has: descriptors, logs, signals.
const LIVE_ALONE: &[(&str, &[&str])] = &[
    ("more connections than descriptors", &["a_server_without_descriptors_waits_for_some"]),
    ("what peers and participants say in the log", &["hostile_last_words_are_cut_and_escaped_in_the_log"]),
    ("a participant that never returns", &["a_participant_that_hangs_does_not_keep_the_connections"]),
    ("SIGTERM under load", &["an_ask_that_is_under_way_when_the_signal_comes_is_answered_or_refused"]),
    ("SIGKILL of the server", &["a_server_that_is_killed_is_known_to_be_gone_at_once"]),
];

/// What concerns nothing that there is: each needs its row when its subject comes. (That the clock of the wall
/// may jump is nobody's concern either: nothing here can read it.)
const WITHOUT_SUBJECT: &[(&str, &str)] = &[
    ("fan-out bombs, slow subscribers, subscriptions above their number", "channels"),
    ("idempotency keys invented without end", "publishing"),
    ("two participants that bounce a message for ever", "participants that open conversations"),
];

fn text_of(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut text = String::new();
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    text
}

fn is_in(text: &str, test: &str) -> bool {
    text.contains(&format!("fn {test}("))
}

#[test]
fn every_case_has_its_simulation_and_its_test_with_sockets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = text_of(&root.join("tests/attacks"));
    let with_sockets =
        [root.join("../conformance/src/cases"), root.join("../../transports/liminal-server/tests")];
    let with_sockets: String = with_sockets.iter().map(|folder| text_of(folder)).collect();
    for (case, simulated, live) in CASES {
        assert!(!simulated.is_empty() && !live.is_empty(), "{case}");
        assert!(simulated.iter().all(|test| is_in(&here, test)), "{case}: {simulated:?}");
    }
    let live = CASES
        .iter()
        .map(|(case, _, live)| (case, live))
        .chain(LIVE_ALONE.iter().map(|(case, live)| (case, live)));
    for (case, live) in live {
        assert!(live.iter().all(|test| is_in(&with_sockets, test)), "{case}: {live:?}");
    }
}

#[test]
fn every_simulation_is_of_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = text_of(&root.join("tests/attacks"));
    let tests = here.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
    let known: BTreeSet<&str> =
        CASES.iter().flat_map(|(_, simulated, _)| simulated.iter().copied()).collect();
    for test in tests.filter(|test| !test.starts_with("every_") && !test.starts_with("no_case_")) {
        assert!(known.contains(test), "{test} is of no case");
    }
}

#[test]
fn no_case_stands_twice() {
    let cases = CASES.iter().map(|(case, ..)| *case).chain(LIVE_ALONE.iter().map(|(case, _)| *case));
    let cases: Vec<&str> = cases.chain(WITHOUT_SUBJECT.iter().map(|(case, _)| *case)).collect();
    assert_eq!(cases.iter().collect::<BTreeSet<_>>().len(), cases.len());
}
