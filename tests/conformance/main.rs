//! The runtimes of the Codex CLI, on the real one, against a scripted model on loopback: what they have to do alike
//! (`cases`), and what the one does that asks (`asking`).
//!
//! Every test looks for processes that are left. Codex is looked for in `GIT_ORCHESTRATOR_TEST_CODEX` and then where
//! `.ci/run` installs it.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot be set up has failed")]

mod asking;
mod cases;
mod measure;
mod world;

/// Each case once for each runtime.
macro_rules! conform {
    ($($case:ident),* $(,)?) => {
        mod codex_exec {
            $(#[tokio::test] async fn $case() { crate::cases::$case(crate::world::Kind::Exec).await; })*
        }
        mod codex_app_server {
            $(#[tokio::test] async fn $case() { crate::cases::$case(crate::world::Kind::AppServer).await; })*
        }
    };
}

conform!(
    a_probe_finds_everything_in_place,
    a_turn_ends_in_an_answer,
    commands_run_in_the_sandbox_with_an_environment_of_their_own,
    a_read_only_turn_writes_nothing,
    nothing_of_the_person_or_the_repository_acts_beside_the_model,
    a_thread_is_continued_and_counted_apart,
    every_failure_has_its_class,
    a_model_that_says_nothing_gives_an_empty_answer,
    a_provider_that_is_not_there_is_a_broken_network,
    a_silent_provider_is_told_from_a_silent_command,
    the_wall_limit_ends_commands_too,
    a_cancelled_turn_can_be_continued,
    too_much_output_ends_the_turn,
    a_killed_codex_is_a_crash,
    a_rehearsal_asks_the_loopback_server_and_says_so,
    odd_paths_are_told_exactly_or_refused,
);
