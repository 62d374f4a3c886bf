//! The person's own ceiling: what no repository gets beyond, whatever its table asks for. It only ever narrows.

use std::collections::BTreeMap;

use super::command::Commands;
use super::gatekeeper::Verdict;
use super::{Autonomy, Budget, LimitOverrides, Limits, RolePolicy, SandboxMode};

/// What a person lets any repository have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// The highest level of autonomy; `None`: the table's.
    pub autonomy: Option<Autonomy>,
    /// For every role.
    pub every: RoleCeiling,
    /// The roles that may run, with what holds for each beside [`Ceiling::every`]; `None`: all.
    pub roles: Option<BTreeMap<String, RoleCeiling>>,
    /// The most that may be spent in a day.
    pub budget: Budget,
}

/// What roles may have at most; what is `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleCeiling {
    /// The most that may be written.
    pub sandbox: Option<SandboxMode>,
    /// `false`: no network.
    pub network: Option<bool>,
    /// Command prefixes: others are not allowed.
    pub commands: Option<Vec<String>>,
    /// The highest limits.
    pub limits: LimitOverrides,
}

impl Ceiling {
    /// Whether the role may run at all.
    pub fn lists(&self, role: &str) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.contains_key(role))
    }

    /// Why the role would not run by itself.
    pub fn holds(&self, role: &str) -> Option<String> {
        if !self.lists(role) {
            return Some(format!("your own ceiling does not list `{role}`"));
        }
        (self.autonomy == Some(Autonomy::Observe))
            .then(|| "`autonomy` in your own ceiling is `observe`: nothing runs by itself".to_owned())
    }

    /// Narrows what a role may do.
    pub fn narrow(&self, role: &str, policy: &mut RolePolicy) {
        self.every.narrow(policy);
        if let Some(own) = self.roles.as_ref().and_then(|roles| roles.get(role)) {
            own.narrow(policy);
        }
        if self.autonomy.is_some_and(|autonomy| autonomy <= Autonomy::Suggest) {
            policy.sandbox = SandboxMode::ReadOnly;
            policy.network = false;
        }
    }

    /// Narrows what a day may cost.
    pub fn narrow_budget(&self, budget: &mut Budget) {
        let least = |asked: Option<u64>, most: Option<u64>| asked.into_iter().chain(most).min();
        budget.runs_per_day = least(budget.runs_per_day, self.budget.runs_per_day);
        budget.tokens_per_day = least(budget.tokens_per_day, self.budget.tokens_per_day);
    }
}

impl RoleCeiling {
    fn narrow(&self, policy: &mut RolePolicy) {
        if let Some(sandbox) = self.sandbox {
            policy.sandbox = policy.sandbox.min(sandbox);
        }
        // No sandbox that only reads has a network.
        policy.network &= self.network.unwrap_or(true) && policy.sandbox == SandboxMode::WorkspaceWrite;
        if let Some(most) = &self.commands {
            policy.commands = both(&policy.commands, most);
        }
        let Limits { wall, idle, output_bytes, tokens, attempts, memory_bytes, processes, file_bytes } =
            self.limits.over(&policy.limits);
        policy.limits = Limits {
            wall: wall.min(policy.limits.wall),
            idle: idle.min(policy.limits.idle),
            output_bytes: output_bytes.min(policy.limits.output_bytes),
            tokens: tokens.min(policy.limits.tokens),
            attempts: attempts.min(policy.limits.attempts),
            memory_bytes: memory_bytes.min(policy.limits.memory_bytes),
            processes: processes.min(policy.limits.processes),
            file_bytes: file_bytes.min(policy.limits.file_bytes),
        };
    }
}

/// The entries of either list that the other one allows too. Of two of which one begins with the words of the other, the
/// longer one; but a shorter entry need not mean the longer one: `make` names no target.
fn both(asked: &[String], most: &[String]) -> Vec<String> {
    let begins = |long: &str, short: &str| {
        let mut words = long.split_whitespace();
        short.split_whitespace().all(|word| words.next() == Some(word))
    };
    let allows = |list: &str, line: &str| Commands::new([list]).judge(line).verdict == Verdict::Allow;
    // What is no command without more words says nothing about itself either.
    let means = |short: &str, long: &str| allows(short, long) || !allows(long, long);
    let follows = |long: &str, short: &str| long == short || begins(long, short) && means(short, long);
    let mut out: Vec<String> = Vec::new();
    for entry in asked {
        let narrowed: Vec<&String> = if most.iter().any(|most| follows(entry, most)) {
            vec![entry]
        } else {
            most.iter().filter(|most| follows(most, entry)).collect()
        };
        for entry in narrowed {
            if !out.contains(entry) {
                out.push(entry.clone());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asked() -> RolePolicy {
        RolePolicy {
            sandbox: SandboxMode::WorkspaceWrite,
            network: true,
            commands: ["git", "cargo test", "ls"].map(str::to_owned).to_vec(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn it_narrows_and_never_widens() {
        let limits = LimitOverrides {
            wall: Some(Duration::from_secs(60)),
            tokens: Some(u64::MAX),
            attempts: Some(1),
            ..LimitOverrides::default()
        };
        let commands = ["git log", "cargo", "cat", "l"].map(str::to_owned).to_vec();
        let every = RoleCeiling { commands: Some(commands), limits, ..RoleCeiling::default() };
        let ceiling = Ceiling { every, ..Ceiling::default() };
        let mut policy = asked();
        ceiling.narrow("tester", &mut policy);
        assert_eq!(policy.commands, ["git log", "cargo test"]);
        assert_eq!(policy.limits.wall, Duration::from_secs(60));
        assert_eq!(policy.limits.tokens, Limits::default().tokens);
        assert_eq!((policy.limits.attempts, policy.network), (1, true));
        let again = policy.clone();
        ceiling.narrow("tester", &mut policy);
        assert_eq!(policy, again);
    }

    #[test]
    fn a_role_has_what_holds_for_all_and_for_itself() {
        let own = RoleCeiling { network: Some(false), ..RoleCeiling::default() };
        let roles = BTreeMap::from([("tester".to_owned(), own)]);
        let ceiling = Ceiling { roles: Some(roles), ..Ceiling::default() };
        assert!(ceiling.lists("tester") && !ceiling.lists("planner"));
        let mut policy = asked();
        ceiling.narrow("tester", &mut policy);
        assert_eq!((policy.sandbox, policy.network), (SandboxMode::WorkspaceWrite, false));

        let every = RoleCeiling { sandbox: Some(SandboxMode::ReadOnly), ..RoleCeiling::default() };
        for ceiling in [
            Ceiling { every, ..Ceiling::default() },
            Ceiling { autonomy: Some(Autonomy::Suggest), ..Ceiling::default() },
        ] {
            let mut policy = asked();
            ceiling.narrow("tester", &mut policy);
            assert_eq!((policy.sandbox, policy.network), (SandboxMode::ReadOnly, false));
        }
    }

    #[test]
    fn a_day_costs_no_more_than_either_says() {
        let ceiling = Ceiling { budget: Budget { runs_per_day: Some(5), tokens_per_day: None }, ..Ceiling::default() };
        let mut budget = Budget { runs_per_day: None, tokens_per_day: Some(7) };
        ceiling.narrow_budget(&mut budget);
        assert_eq!(budget, Budget { runs_per_day: Some(5), tokens_per_day: Some(7) });
    }
}
