//! Bytes as the other implementations write them, typed by hand.

use std::collections::BTreeMap;

use crate::*;

fn vagrant_job() -> JobKey {
    JobKey { role: "vagrant".to_owned(), environment: "prod".to_owned(), name: "x".to_owned() }
}

fn json<T: Write>(value: &T) -> String {
    String::from_utf8(encode_value(Protocol::Json, value)).unwrap()
}

fn plain<T: Write>(value: &T) -> String {
    String::from_utf8(encode_plain(value)).unwrap()
}

#[test]
fn get_role_summary_is_27_bytes() {
    let call = Call::from(GetRoleSummaryArguments {});
    let bytes = encode_call(Protocol::Binary, 1, &call);
    let mut expected = vec![0x80, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x0e];
    expected.extend_from_slice(b"getRoleSummary");
    expected.extend_from_slice(&[0, 0, 0, 1, 0]);
    assert_eq!(expected.len(), 27);
    assert_eq!(bytes, expected);
    let message = decode_call(Protocol::Binary, &expected, Limits::REQUEST).unwrap();
    assert_eq!(message, CallMessage { sequence_id: 1, call });
}

#[test]
fn the_old_binary_envelope_is_read_too() {
    let mut bytes = vec![0, 0, 0, 14];
    bytes.extend_from_slice(b"getRoleSummary");
    bytes.extend_from_slice(&[1, 0, 0, 0, 9, 0]);
    let message = decode_call(Protocol::Binary, &bytes, Limits::REQUEST).unwrap();
    assert_eq!(message.sequence_id, 9);
    assert_eq!(message.call.method(), Method::GetRoleSummary);
}

#[test]
fn kill_tasks_in_thrift_json() {
    let line = r#"[1,"killTasks",1,7,{"4":{"rec":{"1":{"str":"vagrant"},"2":{"str":"prod"},"3":{"str":"x"}}},"5":{"set":["i32",0]},"6":{"str":""}}]"#;
    let call = Call::from(KillTasksArguments {
        job: Some(vagrant_job()),
        instances: Some(Set::default()),
        message: Some(String::new()),
    });
    assert_eq!(encode_call(Protocol::Json, 7, &call), line.as_bytes());
    let message = decode_call(Protocol::Json, line.as_bytes(), Limits::REQUEST).unwrap();
    assert_eq!(message, CallMessage { sequence_id: 7, call });
}

#[test]
fn kill_tasks_in_binary_with_instances() {
    let call = Call::from(KillTasksArguments { job: None, instances: Some(Set(vec![2, -1])), message: None });
    let bytes = encode_call(Protocol::Binary, 2, &call);
    let mut expected = vec![0x80, 1, 0, 1, 0, 0, 0, 9];
    expected.extend_from_slice(b"killTasks");
    expected.extend_from_slice(&[0, 0, 0, 2]);
    expected.extend_from_slice(&[14, 0, 5, 8, 0, 0, 0, 2, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(bytes, expected);
}

#[test]
fn a_reply_in_thrift_json() {
    let response = Response {
        response_code: Some(ResponseCode::Ok),
        result: Some(ResponseResult::ScheduleStatus(ScheduleStatusResult::default())),
        server_info: Some(ServerInfo { cluster_name: "devcluster".to_owned(), stats_url_prefix: String::new() }),
        details: vec![],
    };
    let line = concat!(
        r#"[1,"getTasksStatus",2,3,{"0":{"rec":{"1":{"i32":1},"3":{"rec":{"3":{"rec":{"1":{"lst":["rec",0]}}}}},"#,
        r#""5":{"rec":{"1":{"str":"devcluster"},"3":{"str":""}}},"6":{"lst":["rec",0]}}}}]"#
    );
    assert_eq!(String::from_utf8(encode_reply(Protocol::Json, Method::GetTasksStatus, 3, &response)).unwrap(), line);
    assert_eq!(
        decode_reply(Protocol::Json, Method::GetTasksStatus, 3, line.as_bytes(), Limits::REPLY).unwrap(),
        response
    );
}

#[test]
fn elements_follow_their_count_and_structs_are_bare() {
    let aggregate = ResourceAggregate {
        resources: Set(vec![Resource::NumCpus(1.0), Resource::RamMb(i64::MAX), Resource::NamedPort("http".to_owned())]),
    };
    assert_eq!(
        json(&aggregate),
        r#"{"4":{"set":["rec",3,{"1":{"dbl":1.0}},{"2":{"i64":9223372036854775807}},{"4":{"str":"http"}}]}}"#
    );
    let constraint = ValueConstraint { negated: true, values: Set(vec!["a".to_owned(), "b".to_owned()]) };
    assert_eq!(json(&constraint), r#"{"1":{"tf":1},"2":{"set":["str",2,"a","b"]}}"#);
}

#[test]
fn maps_carry_both_tags() {
    let task = AssignedTask {
        assigned_ports: BTreeMap::from([("http".to_owned(), 31000), ("admin".to_owned(), 31001)]),
        ..AssignedTask::default()
    };
    assert_eq!(
        json(&task),
        r#"{"1":{"str":""},"5":{"map":["str","i32",2,{"admin":31001,"http":31000}]},"6":{"i32":0}}"#
    );
    assert_eq!(json(&AssignedTask::default()), r#"{"1":{"str":""},"5":{"map":["str","i32",0,{}]},"6":{"i32":0}}"#);
    let read: AssignedTask = decode_value(Protocol::Json, json(&task).as_bytes(), Limits::REQUEST).unwrap();
    assert_eq!(read, task);
}

#[test]
fn strings_are_escaped_as_java_does() {
    let text = "\"\\\u{8}\t\n\u{c}\r\u{1}\u{1f}/<é🦀>".to_owned();
    assert_eq!(json(&text), r#""\"\\\b\t\n\f\r\u0001\u001f/<é🦀>""#);
    assert_eq!(plain(&"<a href='x'>&=".to_owned()), r#""\u003ca href\u003d\u0027x\u0027\u003e\u0026\u003d""#);
}

#[test]
fn doubles_without_a_number_are_quoted_words() {
    assert_eq!(json(&f64::NAN), "\"NaN\"");
    assert_eq!(json(&f64::INFINITY), "\"Infinity\"");
    assert_eq!(json(&f64::NEG_INFINITY), "\"-Infinity\"");
    assert_eq!(json(&0.25), "0.25");
    let read = |text: &str| decode_value::<f64>(Protocol::Json, text.as_bytes(), Limits::REQUEST);
    assert!(read("\"NaN\"").unwrap().is_nan());
    assert_eq!(read("\"-Infinity\"").unwrap(), f64::NEG_INFINITY);
    assert_eq!(read("1.0E10").unwrap(), 1e10);
    assert_eq!(read("3").unwrap(), 3.0);
    assert!(read("\"3\"").is_err());
    assert!(read("1e999").is_err());
}

#[test]
fn plain_json_prints_primitives_even_when_unset() {
    let uri = MesosFetcherUri { value: "http://host/file".to_owned(), ..MesosFetcherUri::default() };
    assert_eq!(plain(&uri), r#"{"value":"http://host/file","extract":false,"cache":false}"#);
    let event = TaskEvent { timestamp: 5, status: Some(ScheduleStatus::Running), ..TaskEvent::default() };
    assert_eq!(plain(&event), r#"{"timestamp":5,"status":"RUNNING"}"#);
    let config = TaskConfig {
        container: Some(Container::Mesos(MesosContainer::default())),
        resources: Set(vec![Resource::NumCpus(0.5)]),
        ..TaskConfig::default()
    };
    assert_eq!(
        plain(&config),
        concat!(
            r#"{"isService":false,"priority":0,"maxTaskFailures":0,"production":false,"constraints":[],"#,
            r#""container":{"mesos":{}},"resources":[{"numCpus":0.5}]}"#
        )
    );
}

#[test]
fn plain_json_arguments_come_by_name_and_null_is_absent() {
    let body = br#" { "job": {"role":"vagrant","environment":"prod","name":"x"}, "instances": [1, 2], "message": null, "extra": [{}] } "#;
    let call = decode_plain_arguments(Method::KillTasks, body, Limits::REQUEST).unwrap();
    let expected = KillTasksArguments { job: Some(vagrant_job()), instances: Some(Set(vec![1, 2])), message: None };
    assert_eq!(call, Call::from(expected));
    let empty = decode_plain_arguments(Method::GetRoleSummary, b"", Limits::REQUEST).unwrap();
    assert_eq!(empty, Call::from(GetRoleSummaryArguments {}));
}

#[test]
fn absent_fields_keep_their_zero_and_unknown_fields_are_skipped() {
    let line = r#"{"99":{"map":["i32","lst",1,{"7":["dbl",2,1.5,"NaN"]}]},"7":{"tf":1},"98":{"rec":{"1":{"set":["rec",1,{}]}}}}"#;
    let config: TaskConfig = decode_value(Protocol::Json, line.as_bytes(), Limits::REQUEST).unwrap();
    let expected = TaskConfig { is_service: true, ..TaskConfig::default() };
    assert_eq!(config, expected);

    let mut bytes = vec![13, 0, 99, 8, 15, 0, 0, 0, 1, 0, 0, 0, 7, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&[2, 0, 7, 1]);
    bytes.extend_from_slice(&[12, 0, 98, 3, 0, 1, 5, 6, 0, 2, 0, 1, 11, 0, 3, 0, 0, 0, 1, b'x', 0]);
    bytes.extend_from_slice(&[14, 0, 97, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    let config: TaskConfig = decode_value(Protocol::Binary, &bytes, Limits::REQUEST).unwrap();
    assert_eq!(config, expected);
}

#[test]
fn go_writes_empty_structs_for_nil_pointers() {
    let line = r#"[1,"createJob",1,1,{"1":{"rec":{"5":{"i32":0},"6":{"rec":{}},"7":{"rec":{}},"8":{"i32":0},"9":{"rec":{}}}}}]"#;
    let message = decode_call(Protocol::Json, line.as_bytes(), Limits::REQUEST).unwrap();
    let Call::CreateJob(arguments) = message.call else {
        panic!("another method");
    };
    let description = arguments.description.unwrap();
    assert_eq!(description.owner, Some(Identity::default()));
    assert_eq!(description.key, Some(JobKey::default()));
    assert_eq!(description.cron_collision_policy, Some(CronCollisionPolicy::KillExisting));
    assert_eq!(description.cron_schedule, None);
}

#[test]
fn exceptions_echo_name_and_number() {
    let error = decode_call(Protocol::Json, br#"[1,"noSuch",1,4,{}]"#, Limits::REQUEST).unwrap_err();
    let bytes = error.encode_exception(Protocol::Json).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        r#"[1,"noSuch",3,4,{"1":{"str":"there is no method \"noSuch\""},"2":{"i32":1}}]"#
    );

    let error = decode_call(Protocol::Json, br#"[1,"getJobs",1,4,{"1":{"i32":4}}]"#, Limits::REQUEST).unwrap_err();
    let bytes = error.encode_exception(Protocol::Json).unwrap();
    let reply = decode_reply(Protocol::Json, Method::GetJobs, 4, &bytes, Limits::REPLY).unwrap_err();
    let ReplyError::Exception { message, kind } = reply else {
        panic!("not an exception: {reply:?}");
    };
    assert_eq!(kind, exception_kind::PROTOCOL_ERROR);
    assert!(message.contains("getJobs") && message.contains("ownerRole"), "{message}");
}

#[test]
fn a_reply_to_another_call_or_without_a_result_is_refused() {
    let line = br#"[1,"getJobs",2,4,{"0":{"rec":{"1":{"i32":1}}}}]"#;
    assert!(decode_reply(Protocol::Json, Method::GetJobs, 4, line, Limits::REPLY).is_ok());
    for (method, sequence_id) in [(Method::GetQuota, 4), (Method::GetJobs, 5)] {
        let error = decode_reply(Protocol::Json, method, sequence_id, line, Limits::REPLY).unwrap_err();
        assert!(matches!(error, ReplyError::Mismatch { .. }), "{error:?}");
    }
    let error =
        decode_reply(Protocol::Json, Method::GetJobs, 4, br#"[1,"getJobs",2,4,{}]"#, Limits::REPLY).unwrap_err();
    assert_eq!(error, ReplyError::MissingResult("getJobs"));
    let error =
        decode_reply(Protocol::Json, Method::GetJobs, 4, br#"[1,"getJobs",1,4,{}]"#, Limits::REPLY).unwrap_err();
    assert!(matches!(error, ReplyError::Protocol(_)), "{error:?}");
}

#[test]
fn names_in_the_interface_follow_from_the_declaration() {
    let names = |fields: &[FieldSpec]| fields.iter().map(|field| (field.id, field.name)).collect::<Vec<_>>();
    assert_eq!(names(KillTasksArguments::FIELDS), [(4, "job"), (5, "instances"), (6, "message")]);
    assert_eq!(names(RestartShardsArguments::FIELDS), [(5, "job"), (3, "shardIds")]);
    assert_eq!(names(Resource::FIELDS)[..2], [(1, "numCpus"), (2, "ramMb")]);
    assert_eq!(names(JobUpdateSettings::FIELDS)[3], (5, "minWaitInInstanceRunningMs"));
    assert_eq!(names(TaskConfig::FIELDS)[14], (33, "mesosFetcherUris"));
    assert_eq!(
        ScheduleStatus::ALL.iter().map(|status| status.name()).collect::<Vec<_>>().join(" "),
        "INIT THROTTLED PENDING ASSIGNED STARTING RUNNING FINISHED PREEMPTING RESTARTING DRAINING FAILED KILLED KILLING LOST PARTITIONED"
    );
    assert_eq!(JobUpdateStatus::RollForwardAwaitingPulse.name(), "ROLL_FORWARD_AWAITING_PULSE");
    assert_eq!(Mode::Rw.name(), "RW");
    assert_eq!(Method::ALL.len(), 45);
    assert_eq!(Method::from_name("getTasksWithoutConfigs"), Some(Method::GetTasksWithoutConfigs));
    assert_eq!(Method::SlaDrainHosts.service(), Service::AuroraAdmin);
}
