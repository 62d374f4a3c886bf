//! The first of the three checks: may this row start a run at all?

use serde::{Deserialize, Serialize};

use super::{Autonomy, Policy, RolePolicy, SandboxMode};

/// The outcome of the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Admission {
    /// It may.
    Admitted,
    /// It may once a person releases it.
    Held {
        /// Why, as a sentence.
        reason: String,
    },
}

/// Whether `role` may run under `policy`, and with what. `contract` is the role's own default.
///
/// A role that is not listed is held rather than dropped: the person sees that a row matched and did nothing, and why.
pub fn admit(policy: &Policy, role: &str, contract: &RolePolicy) -> (Admission, RolePolicy) {
    let listed = match &policy.roles {
        None => Some(contract.clone()),
        Some(roles) => roles.get(role).cloned(),
    };
    let Some(mut effective) = listed else {
        let reason = format!("`policy.roles` does not list `{role}`");
        return (Admission::Held { reason }, contract.clone());
    };
    if policy.autonomy <= Autonomy::Suggest {
        effective.sandbox = SandboxMode::ReadOnly;
        effective.network = false;
    }
    if policy.autonomy == Autonomy::Observe {
        let reason = "`policy.autonomy` is `observe`: nothing runs by itself".to_owned();
        return (Admission::Held { reason }, effective);
    }
    (Admission::Admitted, effective)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::Limits;

    fn contract() -> RolePolicy {
        RolePolicy {
            sandbox: SandboxMode::WorkspaceWrite,
            network: false,
            commands: vec!["ls".into()],
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_role_that_is_not_listed_is_held_once_any_is() {
        let mut policy = Policy::default();
        assert_eq!(admit(&policy, "tester", &contract()).0, Admission::Admitted);
        policy.roles = Some(BTreeMap::from([("planner".to_owned(), contract())]));
        assert!(matches!(admit(&policy, "tester", &contract()).0, Admission::Held { .. }));
        assert_eq!(admit(&policy, "planner", &contract()).0, Admission::Admitted);
    }

    #[test]
    fn low_autonomy_narrows_the_sandbox_and_the_lowest_holds() {
        let suggest = Policy { autonomy: Autonomy::Suggest, ..Policy::default() };
        let (admission, effective) = admit(&suggest, "tester", &contract());
        assert_eq!((admission, effective.sandbox), (Admission::Admitted, SandboxMode::ReadOnly));
        let observe = Policy { autonomy: Autonomy::Observe, ..Policy::default() };
        assert!(matches!(admit(&observe, "tester", &contract()).0, Admission::Held { .. }));
    }
}
