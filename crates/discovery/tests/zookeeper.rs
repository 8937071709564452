//! Against a real ZooKeeper: leaders of Mesos masters and server sets, through changes, cuts, restarts and refusals.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use discovery::testing::{Client, Wire, Zookeeper, eventually, settings_for};
use discovery::{
    AccessRule, Announcement, AuthFile, Credential, Endpoint, LeaderWatch, Member, ReadError, ServerSetWatch, Settings,
    ZookeeperUrl, server_set,
};

/// One server for all tests that do not stop it; each uses a path of its own.
fn shared() -> &'static Zookeeper {
    static SERVER: OnceLock<Zookeeper> = OnceLock::new();
    SERVER.get_or_init(Zookeeper::start)
}

const SOON: Duration = Duration::from_secs(10);

fn master(port: u16) -> Vec<u8> {
    format!(r#"{{"address":{{"hostname":"m","ip":"10.0.0.5","port":{port}}},"id":"x","ip":83886090,"port":1}}"#).into()
}

fn leader_port(watch: &LeaderWatch) -> Option<u16> {
    watch.detection().leader.map(|leader| leader.port)
}

fn member(port: u16) -> Member {
    Member::alive(Endpoint::new("here", port), [("http".to_owned(), Endpoint::new("here", port))].into())
}

fn ports(watch: &ServerSetWatch) -> Vec<u16> {
    watch.set().members.values().map(|member| member.service_endpoint.port).collect()
}

#[test]
fn the_leader_is_followed_from_master_to_master_in_every_form() {
    let server = shared();
    let url = ZookeeperUrl::parse(&format!("zk://{}/leader/mesos", server.address())).unwrap();
    let watch = LeaderWatch::start(url.settings(), &url.path).unwrap();
    // Before anybody registers: known to be nobody, with the reason.
    eventually("no leader, and that is known", SOON, || watch.detection().unknown_since.is_none());
    let detection = watch.detection();
    assert_eq!(detection.leader, None);
    assert!(detection.problem.unwrap().contains("/leader/mesos"));

    let (first, second, third) = (server.client(), server.client(), server.client());
    first.make("/leader/mesos");
    first.make("/leader/mesos/log_replicas");
    first.register("/leader/mesos/json.info_", &master(5051));
    eventually("the first master leads", SOON, || leader_port(&watch) == Some(5051));
    let mut leaders = watch.leader();
    assert_eq!(leaders.borrow_and_update().as_ref().unwrap().address(), "10.0.0.5:5051");

    // A binary and a text registration stand behind it, and lead in the order of their numbers.
    second.register("/leader/mesos/info_", b"\x0a\x01x\x10\xff\x80\x80\x08\x18\xbc\x27");
    third.register("/leader/mesos/", b"master@10.0.0.7:5053");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!leaders.has_changed().unwrap(), "masters that stand behind change nothing");
    drop(first);
    eventually("the binary one leads", SOON, || leader_port(&watch) == Some(5052));
    drop(second);
    eventually("the text one leads", SOON, || leader_port(&watch) == Some(5053));
    assert!(watch.detection().leader.unwrap().node.parse::<u32>().is_ok());
    drop(third);
    eventually("nobody leads", SOON, || watch.detection().leader.is_none());
    assert!(watch.detection().unknown_since.is_none());
    assert!(watch.stop(SOON));
}

#[test]
fn a_registration_that_cannot_be_read_is_no_leader_and_says_why() {
    let server = shared();
    let client = server.client();
    client.make("/strange");
    let watch = LeaderWatch::start(server.settings(), "/strange").unwrap();
    let node = client.register("/strange/json.info_", b"nonsense");
    eventually("the problem is told", SOON, || {
        watch.detection().problem.is_some_and(|problem| problem.contains("json.info_0000000000"))
    });
    assert_eq!(watch.detection().leader, None);
    let good = server.client();
    good.register("/strange/json.info_", &master(5060));
    assert!(client.delete(&node));
    eventually("the next one leads", SOON, || leader_port(&watch) == Some(5060));
    assert_eq!(watch.detection().problem, None);
}

#[test]
fn masters_that_come_and_go_quickly_never_leave_a_wrong_leader() {
    let server = shared();
    let client = server.client();
    client.make("/churn");
    let watch = LeaderWatch::start(server.settings(), "/churn").unwrap();
    let stayer = server.client();
    for round in 0..200_u16 {
        // Gone before many of the watcher's reads arrive.
        let node = client.register("/churn/json.info_", &master(6000 + round));
        assert!(client.delete(&node));
    }
    stayer.register("/churn/json.info_", &master(7000));
    eventually("the one that stayed leads", SOON, || leader_port(&watch) == Some(7000));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(leader_port(&watch), Some(7000));
}

#[test]
fn a_session_that_expires_is_replaced_and_what_was_known_stays_meanwhile() {
    let server = shared();
    let wire = Wire::to(&server.address());
    let client = server.client();
    client.make("/expiry/mesos");
    let other = server.client();
    other.register("/expiry/mesos/json.info_", &master(5051));
    let settings = Settings { session_timeout: Duration::from_millis(600), ..settings_for(&wire.address()) };
    let watch = LeaderWatch::start(settings.clone(), "/expiry/mesos").unwrap();
    let announcement = Announcement::start(settings, "/expiry/set", &member(1), &[]).unwrap();
    eventually("the leader is known", SOON, || leader_port(&watch) == Some(5051));
    eventually("the member is announced", SOON, || announcement.state().node.is_some());
    let first_node = announcement.state().node.unwrap();
    let mut leaders = watch.leader();
    leaders.borrow_and_update();

    let cut = Instant::now();
    wire.cut();
    eventually("the leader is told to be unconfirmed", SOON, || watch.detection().unknown_since.is_some());
    eventually("the server expires the session", SOON, || client.children("/expiry/set").is_empty());
    assert!(cut.elapsed() < Duration::from_secs(5));
    eventually("the announcer knows it", SOON, || announcement.state().missing_since.is_some());
    assert_eq!(leader_port(&watch), Some(5051), "what was known stays");
    assert!(!leaders.has_changed().unwrap());
    let problem = watch.detection().problem.unwrap();
    assert!(problem.contains("ZooKeeper"), "{problem}");

    // The leader changes while nobody looks.
    drop(other);
    let next = server.client();
    next.register("/expiry/mesos/json.info_", &master(5052));
    wire.mend();
    eventually("the new leader is found", SOON, || leader_port(&watch) == Some(5052));
    assert!(watch.detection().unknown_since.is_none());
    eventually("the member is announced again", SOON, || announcement.state().missing_since.is_none());
    let state = announcement.state();
    assert_ne!(state.node.as_ref(), Some(&first_node));
    assert_eq!((state.joins, client.children("/expiry/set").len()), (2, 1));
}

#[test]
fn a_short_cut_keeps_session_and_node() {
    let server = shared();
    let wire = Wire::to(&server.address());
    let client = server.client();
    let settings = Settings { session_timeout: Duration::from_secs(20), ..settings_for(&wire.address()) };
    let announcement = Announcement::start(settings, "/short/set", &member(1), &[]).unwrap();
    eventually("the member is announced", SOON, || announcement.state().node.is_some());
    wire.cut();
    eventually("the cut is noticed", SOON, || !announcement.state().is_connected);
    assert_eq!(client.children("/short/set").len(), 1);
    wire.mend();
    eventually("the connection is back", SOON, || announcement.state().is_connected);
    let state = announcement.state();
    assert_eq!((state.joins, state.missing_since, state.problem), (1, None, None));
    assert_eq!(client.children("/short/set"), ["member_0000000000"]);
}

#[test]
fn a_server_that_is_away_and_comes_back_finds_everything_as_it_was() {
    let mut server = Zookeeper::start();
    let settings = Settings { session_timeout: Duration::from_secs(2), ..server.settings() };
    let watch = LeaderWatch::start(settings.clone(), "/mesos").unwrap();
    let announcement = Announcement::start(settings, "/aurora/scheduler", &member(8081), &[]).unwrap();
    let client = server.client();
    client.make("/mesos");
    client.register("/mesos/json.info_", &master(5051));
    eventually("the leader is known", SOON, || leader_port(&watch) == Some(5051));
    eventually("the member is announced", SOON, || announcement.state().node.is_some());

    // Longer than a session and than this side's own patience with it; longer still on request.
    server.stop();
    eventually("the loss is noticed", SOON, || watch.detection().unknown_since.is_some());
    let outage_secs =
        std::env::var("DAYBREAK_ZOOKEEPER_OUTAGE_SECS").ok().and_then(|secs| secs.parse().ok()).unwrap_or(5);
    std::thread::sleep(Duration::from_secs(outage_secs));
    let detection = watch.detection();
    assert_eq!(leader_port(&watch), Some(5051), "what was known stays");
    assert!(detection.problem.unwrap().contains("no ZooKeeper server answers at 127.0.0.1"));
    assert!(announcement.state().missing_for() > Duration::from_secs(1));

    server.start_again();
    eventually("the leader is confirmed", SOON, || {
        watch.detection().unknown_since.is_none() && leader_port(&watch) == Some(5051)
    });
    eventually("the member is announced", SOON, || announcement.state().missing_since.is_none());
    // A server that was away keeps its sessions for a while, with their nodes: nobody may find two members meanwhile.
    let reader = server.client();
    assert_eq!(reader.children("/aurora/scheduler").len(), 1);
    assert!(announcement.leave(SOON));
    assert!(reader.children("/aurora/scheduler").is_empty());
}

#[test]
fn members_join_are_seen_and_leave() {
    let server = shared();
    let client = server.client();
    let watch = ServerSetWatch::start(server.settings(), "/set/role/env/job").unwrap();
    eventually("an empty set is known", SOON, || watch.set().unknown_since.is_none());
    let shard = Member { shard: Some(1), ..member(2) };
    let one = Announcement::start(server.settings(), "/set/role/env/job", &member(1), &[]).unwrap();
    eventually("one member", SOON, || ports(&watch) == [1]);
    let two = Announcement::start(server.settings(), "/set/role/env/job", &shard, &[]).unwrap();
    eventually("two members", SOON, || ports(&watch) == [1, 2]);
    assert_eq!(client.children("/set/role/env/job"), ["member_0000000000", "member_0000000001"]);
    let text = String::from_utf8(client.data("/set/role/env/job/member_0000000001").unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"serviceEndpoint":{"host":"here","port":2},"additionalEndpoints":{"http":{"host":"here","port":2}},"status":"ALIVE","shard":1}"#
    );
    // What is no member is no reason to fail, nor what another writer left out.
    client.register_as("/set/role/env/job/latch-1", b"x");
    client.register_as("/set/role/env/job/member_0000000007", b"nonsense");
    client.register_as("/set/role/env/job/member_0000000008", br#"{"serviceEndpoint":{"host":"h","port":8}}"#);
    eventually("the readable third", SOON, || ports(&watch) == [1, 2, 8]);
    assert!(one.leave(SOON));
    eventually("the first is gone", SOON, || ports(&watch) == [2, 8]);
    assert!(!client.children("/set/role/env/job").contains(&"member_0000000000".into()));
    // Dropping leaves too, in its own time.
    drop(two);
    eventually("the second is gone", SOON, || ports(&watch) == [8]);
}

#[test]
fn a_deleted_node_is_made_again_and_so_is_the_set_itself() {
    let server = shared();
    let client = server.client();
    let announcement = Announcement::start(server.settings(), "/again/set", &member(1), &[]).unwrap();
    eventually("the member is announced", SOON, || announcement.state().node.is_some());
    for round in 1..=3_u64 {
        let node = announcement.state().node.unwrap();
        assert!(client.delete(&node));
        eventually("it is announced again", SOON, || {
            let state = announcement.state();
            state.joins == round + 1 && state.node.is_some_and(|new| new != node)
        });
    }
    // Somebody removes the whole set.
    let node = announcement.state().node.unwrap();
    assert!(client.delete(&node));
    while !client.delete("/again/set") {
        client.children("/again/set").iter().for_each(|child| {
            client.delete(&format!("/again/set/{child}"));
        });
    }
    eventually("the set is made again", SOON, || client.children("/again/set").len() == 1);
    eventually("and the member known", SOON, || announcement.state().missing_since.is_none());
    assert!(announcement.leave(SOON));
    assert!(client.children("/again/set").is_empty());
}

#[test]
fn a_process_that_is_killed_vanishes_with_its_session() {
    // The process: this test program again, doing nothing but announcing.
    if let Ok(address) = std::env::var("DISCOVERY_TEST_ANNOUNCE_AT") {
        let settings = Settings { session_timeout: Duration::from_millis(800), ..settings_for(&address) };
        let _announcement = Announcement::start(settings, "/killed/set", &member(1), &[]).unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let server = shared();
    let client = server.client();
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_is_killed_vanishes_with_its_session"])
        .env("DISCOVERY_TEST_ANNOUNCE_AT", server.address())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is announced", SOON, || client.children("/killed/set").len() == 1);
    process.kill().unwrap();
    let killed = Instant::now();
    process.wait().unwrap();
    assert_eq!(client.children("/killed/set").len(), 1, "the session outlives its process");
    eventually("the node is gone", SOON, || client.children("/killed/set").is_empty());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
}

#[test]
fn rules_keep_strangers_from_writing_and_credentials_let_members_in() {
    let server = shared();
    let credential = Credential::digest("aurora", "secret");
    let owner = Settings { credentials: vec![credential.clone()], ..server.settings() };
    let rules = AccessRule::read_all_creator_all();
    let first = Announcement::start(owner.clone(), "/ruled/set", &member(1), &rules).unwrap();
    eventually("the owner is announced", SOON, || first.state().node.is_some());
    let stranger = server.client();
    let node = first.state().node.unwrap();
    assert!(stranger.data(&node).is_some(), "everybody reads");
    assert!(!stranger.delete(&node) && !stranger.set_data(&node, b"{}"), "nobody else writes");
    let friend = Client::connect(&server.address(), &[credential]);
    assert!(friend.set_data(&node, &member(2).to_json()));

    // Without the credential there is no way in, and the reason is told.
    let refused = Announcement::start(server.settings(), "/ruled/set", &member(3), &[]).unwrap();
    eventually("the refusal is told", SOON, || {
        refused.state().problem.is_some_and(|why| why.contains("do not permit"))
    });
    assert!(refused.state().is_connected && refused.state().node.is_none());
    let second = Announcement::start(owner, "/ruled/set", &member(4), &rules).unwrap();
    eventually("who has it joins", SOON, || second.state().node.is_some());
    assert!(second.leave(SOON) && first.leave(SOON));
}

#[test]
fn an_authentication_file_protects_what_is_announced() {
    let server = shared();
    let file = AuthFile::parse(
        r#"{"auth": [{"scheme": "digest", "credential": "executor:pw"}],
            "acl": [{"scheme": "digest", "credential": "executor:pw",
                     "permissions": {"read": true, "write": true, "create": true, "delete": true, "admin": true}}]}"#,
    )
    .unwrap();
    let settings = Settings { credentials: file.credentials.clone(), ..server.settings() };
    let announcement = Announcement::start(settings.clone(), "/filed/set", &member(1), &file.rules).unwrap();
    eventually("it is announced", SOON, || announcement.state().node.is_some());
    let stranger = server.client();
    assert!(stranger.children("/filed/set").is_empty(), "others may not even look");
    let refused = server_set::read(&server.settings(), "/filed/set", SOON).unwrap_err();
    assert!(matches!(refused, ReadError::Refused { .. }), "{refused}");
    assert_eq!(server_set::read(&settings, "/filed/set", SOON).unwrap().len(), 1);
    let watch = LeaderWatch::start(server.settings(), "/filed/set").unwrap();
    eventually("the refusal is told", SOON, || {
        watch.detection().problem.is_some_and(|why| why.contains("do not permit"))
    });
    assert!(watch.detection().unknown_since.is_some());
}

#[test]
fn reading_once_says_what_is_wrong() {
    let server = shared();
    let settings = server.settings();
    let client = server.client();
    let absent = server_set::read(&settings, "/nobody/here", SOON).unwrap_err().to_string();
    assert!(absent.contains("has no node /nobody/here"), "{absent}");
    client.make("/empty");
    assert_eq!(server_set::read(&settings, "/empty", SOON).unwrap(), []);
    client.register_as("/empty/member_0000000000", b"nonsense");
    let strange = server_set::read(&settings, "/empty", SOON).unwrap_err().to_string();
    assert!(strange.contains("unreadable members") && strange.contains("member_0000000000"), "{strange}");
    client.register_as("/empty/member_0000000001", &member(5).to_json());
    let members = server_set::read(&settings, "/empty", SOON).unwrap();
    let expected: BTreeMap<_, _> = [("member_0000000001".to_owned(), member(5))].into();
    assert_eq!(members.into_iter().collect::<BTreeMap<_, _>>(), expected);

    // Waiting for somebody: in vain, and not.
    client.make("/waiting");
    let empty = server_set::read_members(&settings, "/waiting", Duration::from_secs(1)).unwrap_err().to_string();
    assert!(empty.contains("nobody announces there now"), "{empty}");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        let announcement = Announcement::start(shared().settings(), "/waiting", &member(6), &[]).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        announcement.leave(SOON)
    });
    assert_eq!(server_set::read_members(&settings, "/waiting", SOON).unwrap()[0].1, member(6));
    assert!(late.join().unwrap());

    let nobody = settings_for("127.0.0.1:1");
    let started = Instant::now();
    let gone = server_set::read(&nobody, "/x", Duration::from_secs(1)).unwrap_err().to_string();
    assert!(gone.contains("no ZooKeeper server answers at 127.0.0.1:1"), "{gone}");
    assert!(started.elapsed() < Duration::from_secs(4));
    // One of several servers is enough.
    let several = settings_for(&format!("127.0.0.1:1,{}", server.address()));
    assert_eq!(server_set::read(&several, "/empty", SOON).unwrap().len(), 1);
}

#[test]
fn everything_can_happen_below_another_root() {
    let server = shared();
    let client = server.client();
    let settings = settings_for(&format!("{}/cluster/one", server.address()));
    let announcement = Announcement::start(settings.clone(), "/aurora/scheduler", &member(1), &[]).unwrap();
    eventually("it is announced", SOON, || announcement.state().node.is_some());
    assert_eq!(client.children("/cluster/one/aurora/scheduler").len(), 1);
    assert_eq!(server_set::read(&settings, "/aurora/scheduler", SOON).unwrap().len(), 1);
}
