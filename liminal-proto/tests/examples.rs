//! The examples, run as they stand.

#[path = "../examples/in_memory.rs"]
mod in_memory;
#[path = "../examples/std_loop.rs"]
mod std_loop;

#[test]
fn two_connections_converse_in_memory_and_one_learns_of_a_death() {
    in_memory::main().expect("the example succeeds");
}

#[test]
fn the_std_loop_gets_its_echo_over_a_real_socket() {
    std_loop::main().expect("the example succeeds");
}
