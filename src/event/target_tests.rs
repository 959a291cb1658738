//! Tests of targets: the contract's rules for `to`, one by one, through the parser.

use super::*;
use crate::access::Role;

#[test]
fn no_target_is_everyone() {
    for line in [order_with(""), to("{}"), to(r#"{"excludeUserIds":[]}"#)] {
        with_event(&line, |event| {
            let targets = event.targets;
            assert_eq!(targets.roles, RoleMask::ALL);
            assert!(!targets.users_narrow);
            assert_eq!(
                targets.owners().count() + targets.users().count() + targets.excluded().count(),
                0
            );
            assert_eq!(targets.session(), None);
        });
    }
}

#[test]
fn targets_are_read_in_any_order() {
    let mut data = data(EventType::OrderCreated, true);
    data["customerId"] = json!("customer");
    let to = r#"{"excludeSessionId":"s","userIds":["u1","u\u0032"],"excludeUserIds":["x"],"owners":["o"],"roles":["staff","customer"]}"#;
    let line = format!(r#"{{"to":{to},"type":"order:created","data":{data}}}"#);
    with_event(&line, |event| {
        let targets = event.targets;
        assert_eq!(
            targets.owners().collect::<Vec<_>>(),
            ["o", "customer", "u1", "u2"]
        );
        assert_eq!(targets.users().collect::<Vec<_>>(), ["u1", "u2"]);
        assert_eq!(targets.excluded().collect::<Vec<_>>(), ["x"]);
        assert_eq!(targets.session(), Some("s"));
        assert!(targets.users_narrow);
        for role in Role::ALL {
            assert_eq!(
                targets.roles.contains(role),
                matches!(role, Role::Staff | Role::Customer)
            );
        }
    });
}

#[test]
fn target_roles_of_data_narrow_too() {
    let alert = |data_roles: &str, to: &str| {
        format!(
            r#"{{"type":"system:alert","data":{{"title":"","message":"","severity":"info"{data_roles}}}{to}}}"#
        )
    };
    let masks = |line: String| with_event(&line, |event| event.targets.roles);
    let both = masks(alert(
        r#","targetRoles":["admin","staff"]"#,
        r#","to":{"roles":["staff","guest"]}"#,
    ));
    assert!(
        Role::ALL
            .into_iter()
            .all(|role| both.contains(role) == (role == Role::Staff))
    );
    assert!(
        masks(alert(
            r#","targetRoles":["admin"]"#,
            r#","to":{"roles":["staff"]}"#
        ))
        .is_empty()
    );
    let data_only = masks(alert(r#","targetRoles":["admin"]"#, ""));
    assert!(data_only.contains(Role::Admin) && !data_only.contains(Role::Public));
    // Only system events have the field; elsewhere it is an extra field and unread.
    let other = order_with("").replace(r#""p""#, r#""p","targetRoles":["admin"]"#);
    assert_eq!(masks(other), RoleMask::ALL);
}

#[test]
fn a_typo_in_a_target_never_becomes_a_broadcast() {
    for value in ["null", "[]", "\"admin\"", "1"] {
        assert_refused(&to(value), Code::InvalidTarget, "to");
    }
    for name in ["role", "userId", "", "excludeSessionIds", "UserIds"] {
        let field = format!("to.{name}");
        assert_refused(
            &to(&format!(r#"{{"{name}":["x"]}}"#)),
            Code::InvalidTarget,
            &field,
        );
    }
    for list in ["roles", "userIds", "owners"] {
        let field = format!("to.{list}");
        for value in [
            "[]",
            "null",
            "\"admin\"",
            "{}",
            "[null]",
            "[1]",
            "[\"\"]",
            "[[\"admin\"]]",
            "[\"admin\",{}]",
        ] {
            assert_refused(
                &to(&format!(r#"{{"{list}":{value}}}"#)),
                Code::InvalidTarget,
                &field,
            );
        }
    }
    for role in ["public", "Admin", "root"] {
        assert_refused(
            &to(&format!(r#"{{"roles":["admin","{role}"]}}"#)),
            Code::InvalidTarget,
            "to.roles",
        );
    }
    for value in ["null", "\"x\"", "[\"a\\u0007\"]", "[2]"] {
        let line = to(&format!(r#"{{"excludeUserIds":{value}}}"#));
        assert_refused(&line, Code::InvalidTarget, "to.excludeUserIds");
    }
    for value in ["null", "\"\"", "[\"s\"]", "1"] {
        let line = to(&format!(r#"{{"excludeSessionId":{value}}}"#));
        assert_refused(&line, Code::InvalidTarget, "to.excludeSessionId");
    }
}
