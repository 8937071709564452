//! The leader as a real ZooKeeper names it.

mod common;

use common::*;
use discovery::testing::Zookeeper;
use engine::Event;

fn master_info(port: &Port) -> String {
    format!(
        r#"{{"id":"m-{0}","ip":16777343,"port":{0},"hostname":"no.such.host","address":{{"ip":"127.0.0.1","port":{0}}}}}"#,
        port.number()
    )
}

#[test]
fn the_leader_is_followed_at_once() {
    let zookeeper = Zookeeper::start();
    let client = zookeeper.client();
    let (first, second) = (Port::open(), Port::open());
    client.make("/mesos");
    let (engine, heard) = engine(&format!("zk://{}/mesos", zookeeper.address()));
    engine.begin(Some("f-1".into()));
    heard.nothing();
    let node = client.register("/mesos/json.info_", master_info(&first).as_bytes());
    client.make("/mesos/log_replicas");
    let mut at_first = first.subscribe("f-1");
    heard.registered();
    // A second contender changes nothing.
    client.register("/mesos/json.info_", master_info(&second).as_bytes());
    heard.nothing();
    // The leader's node goes; its stream still stands, and is left at once.
    assert!(client.delete(&node));
    assert_eq!(heard.next(), Event::Disconnected);
    let at_second = second.subscribe("f-1");
    assert_eq!(at_second.request.call.framework_id, Some("f-1".into()));
    heard.registered();
    assert!(at_first.stream.is_closed());
}
