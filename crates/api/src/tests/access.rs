//! What callers hear where not everybody may do everything (spec thrift-api 1.4).

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use gateway::{Authorizer, Permission};
use scheduler::{Principal, Reply, View};
use thrift::{
    Call, GetRoleSummaryArguments, KillTasksArguments, Limits, Protocol, ResponseCode, SnapshotArguments, decode_reply,
    encode_call,
};

use super::{House, Seen, job_key};
use crate::ApiSettings;

/// Lets alice kill tasks of vagrant, and nothing else.
struct Alice;

impl Authorizer for Alice {
    fn requires_login(&self) -> bool {
        true
    }

    fn permits(&self, principal: &Principal, permission: &Permission) -> bool {
        principal.name == "alice"
            && permission.to_string().starts_with("thrift.AuroraSchedulerManager:killTasks:vagrant:")
    }
}

fn house() -> House {
    House::guarded(View::default(), Reply::ok(), ApiSettings::default(), Arc::new(Alice))
}

fn kill(job: Option<thrift::JobKey>) -> Call {
    Call::KillTasks(KillTasksArguments { job, ..KillTasksArguments::default() })
}

async fn ask(house: &House, caller: Option<&str>, call: &Call) -> Seen {
    let mut request = Request::post("/api").body(Body::from(encode_call(Protocol::Json, 1, call))).unwrap();
    if let Some(name) = caller {
        request.extensions_mut().insert(Principal { name: name.to_owned() });
    }
    house.send(request).await
}

fn code(seen: &Seen, call: &Call) -> ResponseCode {
    assert_eq!(seen.status, StatusCode::OK, "{}", seen.text());
    let reply = decode_reply(Protocol::Json, call.method(), 1, &seen.body, Limits::REPLY).unwrap();
    reply.response_code.unwrap()
}

#[tokio::test]
async fn unknown_callers_may_read_and_nothing_else() {
    let house = house();
    let read = Call::GetRoleSummary(GetRoleSummaryArguments {});
    assert_eq!(code(&ask(&house, None, &read).await, &read), ResponseCode::Ok);
    for call in [kill(Some(job_key())), kill(None), Call::Snapshot(SnapshotArguments {})] {
        assert_eq!(ask(&house, None, &call).await.status, StatusCode::UNAUTHORIZED);
        let plain = Request::post(format!("/apibeta/{}", call.method().name())).body(Body::empty()).unwrap();
        assert_eq!(house.send(plain).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(house.commands(), []);
}

#[tokio::test]
async fn known_callers_may_do_what_their_roles_permit() {
    let house = house();
    let call = kill(Some(job_key()));
    assert_eq!(code(&ask(&house, Some("alice"), &call).await, &call), ResponseCode::Ok);
    assert_eq!(house.commands().len(), 1);
    let bad_key = kill(Some(thrift::JobKey { role: "a:b".into(), ..job_key() }));
    for (name, call, expected) in [
        ("bob", kill(Some(job_key())), ResponseCode::AuthFailed),
        ("alice", kill(Some(thrift::JobKey { role: "other".into(), ..job_key() })), ResponseCode::AuthFailed),
        ("alice", Call::Snapshot(SnapshotArguments {}), ResponseCode::AuthFailed),
        // What belongs to nobody cannot be permitted to anybody.
        ("alice", kill(None), ResponseCode::InvalidRequest),
        ("alice", bad_key, ResponseCode::InvalidRequest),
    ] {
        let seen = ask(&house, Some(name), &call).await;
        assert_eq!(code(&seen, &call), expected, "{name} {call:?}");
        assert!(expected != ResponseCode::AuthFailed || seen.text().contains(name), "{}", seen.text());
    }
    assert_eq!(house.commands().len(), 1);
}
