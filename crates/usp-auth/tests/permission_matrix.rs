//! Every permission, role and place, against a table written by hand from the documentation of roles.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use usp_auth::{
    BucketScope, Need, Permission, absent_bucket, allows, authorize, authorize_somewhere, held_permissions,
    intersect, visible_buckets,
};
use usp_model::{ApiKeyId, BucketName, ErrorKind, Grant, Principal, PrincipalKind, Role, UserName};

/// One letter per role: none at all, reader, writer, manager, admin; `y` where the permission is held.
struct Row {
    permission: Permission,
    /// Role in the bucket `own`, asked about `own`.
    in_own: &'static str,
    /// Role in the bucket `own`, asked about `other` or about all buckets.
    beyond: &'static str,
    /// Role in all buckets, asked about any.
    everywhere: &'static str,
}

const fn row(
    permission: Permission,
    in_own: &'static str,
    beyond: &'static str,
    everywhere: &'static str,
) -> Row {
    Row { permission, in_own, beyond, everywhere }
}

const TABLE: &[Row] = &[
    row(Permission::FileRead, "nyyyy", "nnnnn", "nyyyy"),
    row(Permission::FileWrite, "nnyyy", "nnnnn", "nnyyy"),
    row(Permission::FileDelete, "nnyyy", "nnnnn", "nnyyy"),
    row(Permission::FileShare, "nnyyy", "nnnnn", "nnyyy"),
    row(Permission::BucketRead, "nyyyy", "nnnnn", "nyyyy"),
    row(Permission::BucketCreate, "nnnnn", "nnnnn", "nnnyy"),
    row(Permission::BucketManage, "nnnyy", "nnnnn", "nnnyy"),
    row(Permission::BucketDelete, "nnnny", "nnnnn", "nnnny"),
    row(Permission::RunRead, "nyyyy", "nnnnn", "nyyyy"),
    row(Permission::RunManage, "nnyyy", "nnnnn", "nnyyy"),
    row(Permission::RuleRead, "nnnnn", "nnnnn", "nyyyy"),
    row(Permission::RuleManage, "nnnnn", "nnnnn", "nnnyy"),
    row(Permission::EventRead, "nyyyy", "nnnnn", "nyyyy"),
    row(Permission::WebhookManage, "nnnnn", "nnnnn", "nnnyy"),
    row(Permission::UserManage, "nnnnn", "nnnnn", "nnnny"),
    row(Permission::ApiKeyManage, "nnnnn", "nnnnn", "nnnny"),
    row(Permission::AuditRead, "nnnnn", "nnnnn", "nnnny"),
    row(Permission::StatsRead, "nnnnn", "nnnnn", "nnnyy"),
    row(Permission::StoreManage, "nnnnn", "nnnnn", "nnnny"),
    row(Permission::SelfRead, "yyyyy", "yyyyy", "yyyyy"),
    row(Permission::WorkLease, "nnnnn", "nnnnn", "nnnnn"),
];

const ROLES: [Option<Role>; 5] =
    [None, Some(Role::Reader), Some(Role::Writer), Some(Role::Manager), Some(Role::Admin)];

fn bucket(name: &str) -> BucketName {
    BucketName::parse(name).unwrap()
}

fn grant(place: Option<&str>, role: Role) -> Grant {
    Grant { bucket: place.map(bucket), role }
}

fn principal(kind: PrincipalKind, grants: Vec<Grant>) -> Principal {
    let api_key = (kind == PrincipalKind::ApiKey).then(|| ApiKeyId::random().unwrap());
    Principal { kind, name: UserName::parse("alice").unwrap(), api_key, grants }
}

#[test]
fn every_permission_stands_in_the_table_once() {
    let rows: Vec<_> = TABLE.iter().map(|row| row.permission).collect();
    assert_eq!(rows, Permission::ALL);
    let words: std::collections::BTreeSet<_> = Permission::ALL.iter().map(|p| p.as_str()).collect();
    assert_eq!(words.len(), Permission::ALL.len(), "each has a word of its own");
}

#[test]
fn callers_hold_exactly_what_the_table_says() {
    let (own, other) = (bucket("own"), bucket("other"));
    let mut decisions = 0;
    for kind in PrincipalKind::ALL {
        for row in TABLE {
            for (column, role) in ROLES.iter().enumerate() {
                let holds = |marks: &str| {
                    let service_work =
                        *kind == PrincipalKind::Service && row.permission == Permission::WorkLease;
                    marks.as_bytes()[column] == b'y' || service_work
                };
                let local = principal(*kind, role.map(|role| grant(Some("own"), role)).into_iter().collect());
                let global = principal(*kind, role.map(|role| grant(None, role)).into_iter().collect());
                let asked = [
                    (&local, Some(&own), row.in_own),
                    (&local, Some(&other), row.beyond),
                    (&local, None, row.beyond),
                    (&global, Some(&own), row.everywhere),
                    (&global, Some(&other), row.everywhere),
                    (&global, None, row.everywhere),
                ];
                for (caller, place, marks) in asked {
                    let case = format!("{} {kind} {:?} in {place:?}", row.permission, caller.grants);
                    assert_eq!(allows(caller, row.permission, place), holds(marks), "{case}");
                    assert_eq!(authorize(caller, row.permission, place).is_ok(), holds(marks), "{case}");
                    decisions += 1;
                }
            }
        }
    }
    assert_eq!(decisions, PrincipalKind::ALL.len() * Permission::ALL.len() * 5 * 6);
}

#[test]
fn a_foreign_bucket_looks_exactly_like_an_absent_one() {
    let reader = principal(PrincipalKind::User, vec![grant(Some("own"), Role::Reader)]);
    let foreign = bucket("other");
    for permission in [Permission::FileRead, Permission::FileWrite, Permission::BucketDelete] {
        let error = authorize(&reader, permission, Some(&foreign)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), absent_bucket(&foreign).to_string());
        assert_eq!(error.detail(), absent_bucket(&foreign).detail());
    }
}

#[test]
fn a_refusal_names_the_role_that_is_missing() {
    let reader = principal(PrincipalKind::User, vec![grant(Some("own"), Role::Reader)]);
    let own = bucket("own");
    let sentence = |permission, place| {
        let error = authorize(&reader, permission, place).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        error.detail()
    };
    assert!(sentence(Permission::FileWrite, Some(&own)).contains("the role 'writer' in bucket 'own'"));
    assert!(sentence(Permission::FileRead, None).contains("the role 'reader' in all buckets"));
    assert!(sentence(Permission::UserManage, Some(&own)).contains("the role 'admin' in all buckets"));
    assert!(sentence(Permission::WorkLease, None).contains("node"));
}

#[test]
fn lists_show_only_buckets_with_a_strong_enough_grant() {
    let caller = principal(
        PrincipalKind::User,
        vec![
            grant(Some("zoo"), Role::Writer),
            grant(Some("own"), Role::Reader),
            grant(Some("zoo"), Role::Reader),
        ],
    );
    let only = |names: &[&str]| BucketScope::Only(names.iter().map(|name| bucket(name)).collect());
    assert_eq!(visible_buckets(&caller, Permission::FileRead), only(&["own", "zoo"]));
    assert_eq!(visible_buckets(&caller, Permission::FileWrite), only(&["zoo"]));
    assert_eq!(visible_buckets(&caller, Permission::BucketManage), only(&[]));
    for permission in [Permission::UserManage, Permission::WorkLease, Permission::SelfRead] {
        assert_eq!(visible_buckets(&caller, permission), only(&[]), "{permission} opens no bucket");
    }

    let admin = principal(PrincipalKind::User, vec![grant(None, Role::Admin)]);
    assert_eq!(visible_buckets(&admin, Permission::FileRead), BucketScope::All);
    let nobody = principal(PrincipalKind::User, Vec::new());
    assert_eq!(visible_buckets(&nobody, Permission::FileRead), only(&[]));

    let scope = visible_buckets(&caller, Permission::FileRead);
    assert!(scope.contains(&bucket("zoo")) && !scope.contains(&bucket("other")));
    assert!(BucketScope::All.contains(&bucket("other")));
}

#[test]
fn every_other_decision_is_that_of_the_one_function() {
    let grants = [None, Some("own"), Some("zoo")]
        .iter()
        .flat_map(|place| ROLES.iter().flatten().map(move |role| vec![grant(*place, *role)]));
    let pairs = grants.clone().flat_map(|a| grants.clone().map(move |b| [a.clone(), b].concat()));
    let named = [bucket("other"), bucket("own"), bucket("zoo")];
    for grants in grants.clone().chain(pairs).chain([Vec::new()]) {
        for kind in PrincipalKind::ALL {
            let caller = principal(*kind, grants.clone());
            let held = held_permissions(&caller);
            for permission in Permission::ALL {
                let case = format!("{permission} {kind} {grants:?}");
                let everywhere = allows(&caller, *permission, None);
                let in_some = named.iter().any(|bucket| allows(&caller, *permission, Some(bucket)));
                let scope = visible_buckets(&caller, *permission);
                for bucket in &named {
                    let shown = allows(&caller, *permission, Some(bucket));
                    let expected = shown && permission.need() != Need::AnyCaller;
                    assert_eq!(scope.contains(bucket), expected, "{case} in {bucket}");
                }
                assert_eq!(
                    authorize_somewhere(&caller, *permission).is_ok(),
                    everywhere || in_some,
                    "{case}"
                );
                let listed = held.iter().find(|(listed, _)| listed == permission).map(|(_, scope)| scope);
                match listed {
                    Some(BucketScope::All) => assert!(everywhere, "{case}"),
                    Some(only) => assert!(!everywhere && *only == scope, "{case}"),
                    None => assert!(!everywhere && !in_some, "{case}"),
                }
            }
        }
    }
}

#[test]
fn an_intersection_allows_what_both_sides_allow_and_nothing_else() {
    let places = [None, Some("own"), Some("other")];
    let single = |place: Option<&str>, role: Option<Role>| role.map(|role| grant(place, role));
    // All pairs of grants on each side: strong here and weak there is where mistakes hide.
    let mut sides = Vec::new();
    for (a, b) in [(0, 1), (1, 2), (0, 2), (1, 1)] {
        for first in ROLES {
            for second in ROLES {
                let grants = [single(places[a], first), single(places[b], second)];
                sides.push(grants.into_iter().flatten().collect::<Vec<_>>());
            }
        }
    }
    let asked = [bucket("own"), bucket("other"), bucket("third")];
    for user in &sides {
        for key in &sides {
            let both = principal(PrincipalKind::ApiKey, intersect(user, key));
            let user = principal(PrincipalKind::User, user.clone());
            let key = principal(PrincipalKind::ApiKey, key.clone());
            for permission in [Permission::FileRead, Permission::FileWrite, Permission::BucketDelete] {
                for place in asked.iter().map(Some).chain([None]) {
                    let expected = allows(&user, permission, place) && allows(&key, permission, place);
                    assert_eq!(
                        allows(&both, permission, place),
                        expected,
                        "{permission} in {place:?}: {:?} ∩ {:?} = {:?}",
                        user.grants,
                        key.grants,
                        both.grants
                    );
                }
            }
        }
    }
}

#[test]
fn an_intersection_is_written_as_briefly_as_it_can_be() {
    let user = [grant(None, Role::Writer), grant(Some("own"), Role::Admin)];
    let key =
        [grant(Some("own"), Role::Manager), grant(None, Role::Reader), grant(Some("other"), Role::Reader)];
    assert_eq!(intersect(&user, &key), [grant(None, Role::Reader), grant(Some("own"), Role::Manager)]);
    assert_eq!(intersect(&user, &[]), []);
    assert_eq!(intersect(&[grant(Some("own"), Role::Admin)], &[grant(Some("other"), Role::Admin)]), []);
}
